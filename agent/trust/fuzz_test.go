package trust

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/kept"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

// FuzzRefresh puts bytes of any kind in the place of each role's file. Whatever a server without keys sends, a host
// neither panics nor ends up with another state than the signed one.
func FuzzRefresh(f *testing.F) {
	r := newRepo(f)
	r.Release(r.Bin("web01"))
	bin := "2." + r.Bin("web01") + ".json"
	files := []string{timestampFile, "2.snapshot.json", "2.targets.json", bin, "2.root.json", "policy"}
	for i, file := range files {
		f.Add(uint8(i), r.Files[file])
	}
	f.Add(uint8(2), []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`))
	f.Add(uint8(4), []byte(`{"signed":{"_type":"root","keys":{"a":{"keytype":"ed25519","keyval":{"public":"ab"}}},"roles":{"root":{"keyids":["a"],"threshold":1}}},"signatures":[]}`))
	f.Add(uint8(4), r.Anchor)
	stamp := unhashed(f, r)
	honest := fmt.Sprint(schema.DigestOf([]byte("web01 first")))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		bent := &repo{r.Clone(), t}
		file := files[int(which)%len(files)]
		if file == "policy" {
			for key := range bent.Objects {
				bent.Objects[key] = b
			}
		}
		bent.Files[file] = b
		if strings.HasSuffix(file, "snapshot.json") {
			// Without this the hash in the timestamp would keep everything from the parser.
			bent.Files[timestampFile] = stamp
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
	m := r.Timestamp.Signed.Meta[snapshotFile]
	r.Timestamp.Signed.Meta[snapshotFile] = metadata.MetaFile(m.Version)
	b := trusttest.Sign(r.Timestamp, r.Signers["timestamp"]...)
	r.Timestamp.Signed.Meta[snapshotFile] = m
	return b
}

// FuzzState puts bytes of any kind in the place of each state file: the host always comes up and updates.
func FuzzState(f *testing.F) {
	r := newRepo(f)
	r.Release(r.Bin("web01"))
	names := []string{rootFile, kept.CopyOf(rootFile), kept.MarksFile, kept.CopyOf(kept.MarksFile), timestampFile, "2.snapshot.json", "2.targets.json",
		"2." + r.Bin("web01") + ".json", r.targetFile()}
	for i, name := range names {
		f.Add(uint8(i), r.Files[name])
	}
	f.Add(uint8(2), []byte(`{"sum":"","marks":{}}`))
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		bent := &repo{r.Clone(), t}
		dir := t.TempDir()
		bent.mustUpdate(dir, "web01", "web01 first")
		damage(t, dir, names[int(which)%len(names)], func([]byte) []byte { return b })
		bent.mustUpdate(dir, "web01", "web01 first")
	})
}

func (r *repo) targetFile() string {
	d, _, err := targetDigest(r.top(), schema.PolicyTarget)
	if err != nil {
		r.t.Fatal(err)
	}
	return d.Hex() + policySuffix
}
