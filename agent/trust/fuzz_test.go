package trust

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// FuzzRefresh puts bytes of any kind in the place of each role's file. Whatever a server without keys sends, a host
// neither panics nor ends up with another state than the signed one.
func FuzzRefresh(f *testing.F) {
	r := newRepo(f)
	r.publish(r.bin("web01"))
	bin := "2." + r.bin("web01") + ".json"
	files := []string{timestampFile, "2.snapshot.json", "2.targets.json", bin, "2.root.json", "policy"}
	for i, file := range files {
		f.Add(uint8(i), r.files[file])
	}
	f.Add(uint8(2), []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`))
	f.Add(uint8(4), []byte(`{"signed":{"_type":"root","keys":{"a":{"keytype":"ed25519","keyval":{"public":"ab"}}},"roles":{"root":{"keyids":["a"],"threshold":1}}},"signatures":[]}`))
	f.Add(uint8(4), r.anchor())
	stamp := unhashed(f, r)
	honest := fmt.Sprint(schema.DigestOf([]byte("web01 first")))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		bent := *r
		bent.t, bent.files, bent.asked = t, map[string][]byte{}, nil
		for name, file := range r.files {
			bent.files[name] = file
		}
		bent.content = map[schema.Digest][]byte{}
		for d, c := range r.content {
			bent.content[d] = c
		}
		file := files[int(which)%len(files)]
		if file == "policy" {
			for d := range bent.content {
				bent.content[d] = b
			}
		}
		bent.files[file] = b
		if strings.HasSuffix(file, "snapshot.json") {
			// Without this the hash in the timestamp would keep everything from the parser.
			bent.files[timestampFile] = stamp
		}
		a, err := bent.update("", "web01")
		var p *panicError
		if errors.As(err, &p) {
			t.Fatalf("panic: %v\n%s", p.value, p.stack)
		}
		if err == nil && a.SHA256.String() != honest {
			t.Errorf("the host is given %s", a.SHA256)
		}
	})
}

// unhashed is r's timestamp with no hash of the snapshot.
func unhashed(f *testing.F, r *repo) []byte {
	m := r.stamp.Signed.Meta[snapshotFile]
	r.stamp.Signed.Meta[snapshotFile] = metadata.MetaFile(m.Version)
	b := sign(f, r.stamp, r.keys["timestamp"])
	r.stamp.Signed.Meta[snapshotFile] = m
	return b
}

// FuzzState puts bytes of any kind in the place of each state file: the host always comes up and updates.
func FuzzState(f *testing.F) {
	r := newRepo(f)
	r.publish(r.bin("web01"))
	names := []string{rootFile, copyOf(rootFile), marksFile, copyOf(marksFile), timestampFile, "2.snapshot.json", "2.targets.json",
		"2." + r.bin("web01") + ".json", r.targetFile()}
	for i, name := range names {
		f.Add(uint8(i), r.files[name])
	}
	f.Add(uint8(2), []byte(`{"sum":"","marks":{}}`))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		bent := *r
		bent.t, bent.asked = t, nil
		dir := t.TempDir()
		bent.mustUpdate(dir, "web01", "web01 first")
		damage(t, dir, names[int(which)%len(names)], func([]byte) []byte { return b })
		bent.mustUpdate(dir, "web01", "web01 first")
	})
}

func (r *repo) targetFile() string {
	d, _, err := targetDigest(r.targets, schema.PolicyTarget)
	if err != nil {
		r.t.Fatal(err)
	}
	return d.Hex() + policySuffix
}
