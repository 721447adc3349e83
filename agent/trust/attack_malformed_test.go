package trust

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

func TestMalformedMetadata(t *testing.T) {
	deep := []byte(`{"signed":` + strings.Repeat(`{"a":`, 1000) + `1` + strings.Repeat(`}`, 1000) + `}`)
	bend := func(path string, v string) func([]byte) []byte {
		return func(b []byte) []byte {
			out := bytes.Replace(b, []byte(path), []byte(v), 1)
			if bytes.Equal(out, b) {
				t.Fatalf("%q is not in %s", path, b)
			}
			return out
		}
	}
	for name, c := range map[string]struct {
		bend func([]byte) []byte
		says string
	}{
		"empty":             {func([]byte) []byte { return nil }, "unexpected end of JSON"},
		"not JSON":          {func([]byte) []byte { return []byte("<html>504</html>") }, "invalid character"},
		"truncated":         {func(b []byte) []byte { return b[:len(b)/2] }, ""},
		"null":              {func([]byte) []byte { return []byte("null") }, "null"},
		"an array":          {func([]byte) []byte { return []byte("[]") }, ""},
		"a number":          {func([]byte) []byte { return []byte("7") }, ""},
		"no signed part":    {func([]byte) []byte { return []byte(`{"signatures":[]}`) }, "signed"},
		"signed is null":    {func([]byte) []byte { return []byte(`{"signed":null,"signatures":[]}`) }, "null"},
		"null signatures":   {func([]byte) []byte { return []byte(`{"signed":{},"signatures":[null]}`) }, "null"},
		"deep":              {func([]byte) []byte { return deep }, "nested deeper"},
		"two JSON values":   {func(b []byte) []byte { return append(slices.Clone(b), b...) }, "after top-level value"},
		"a name twice":      {bend(`"version":`, `"version":9,"version":`), "stands twice"},
		"a wrong type":      {bend(`"version":`, `"version":"9","x":`), ""},
		"a float version":   {bend(`"version":`, `"version":1.5,"x":`), ""},
		"version zero":      {bend(`"version":2`, `"version":0`), ""},
		"negative version":  {bend(`"version":2`, `"version":-1`), ""},
		"another type":      {bend(`"_type":"`, `"_type":"x`), "type"},
		"expires as number": {bend(`"expires":"`, `"expires":7,"x":"`), ""},
	} {
		for _, file := range []string{timestampFile, "2.snapshot.json", "2.targets.json", "2.bin", "2.root.json"} {
			t.Run(name+" "+file, func(t *testing.T) {
				r := newRepo(t)
				r.Release(r.Bin("web01"))
				if file == "2.bin" {
					file = "2." + r.Bin("web01") + ".json"
				}
				if file == "2.root.json" {
					r.rotate("timestamp")
					r.Release()
				}
				r.Files[file] = c.bend(r.Files[file])
				if file == "2.snapshot.json" { // past the hash in the timestamp, to the parser
					r.Timestamp.Signed.Meta[snapshotFile] = metadata.MetaFile(2)
					r.Seal("timestamp")
				}
				_, err := r.update("", "web01")
				refused(t, err, c.says)
			})
		}
	}
}

func TestNullEntriesFromAKeylessMirror(t *testing.T) {
	for name, c := range map[string]struct{ file, body string }{
		"target":     {"1.targets.json", `{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`},
		"meta":       {timestampFile, `{"signed":{"_type":"timestamp","version":2,"meta":{"snapshot.json":null}},"signatures":[]}`},
		"key":        {"2.root.json", `{"signed":{"_type":"root","keys":{"a":null},"roles":{}},"signatures":[]}`},
		"role":       {"2.root.json", `{"signed":{"_type":"root","keys":{},"roles":{"root":null}},"signatures":[]}`},
		"short key":  {"2.root.json", `{"signed":{"_type":"root","keys":{"a":{"keytype":"ed25519","keyval":{"public":"ab"}}},"roles":{}},"signatures":[]}`},
		"Short Key":  {"2.root.json", `{"signed":{"_type":"root","Keys":{"a":{"KeyType":"ed25519","KeyVal":{"Public":"ab"}}},"roles":{}},"signatures":[]}`},
		"delegation": {"1.targets.json", `{"signed":{"_type":"targets","targets":{},"delegations":null},"signatures":[]}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.Files[c.file] = []byte(c.body)
			_, err := r.update("", "web01")
			refused(t, err, c.file)
		})
	}
}

func TestMalformedButSigned(t *testing.T) {
	for name, c := range map[string]struct {
		bend func(r *repo)
		says string
	}{
		"timestamp without a snapshot": {func(r *repo) {
			r.Timestamp.Signed.Meta = map[string]*metadata.MetaFiles{}
			r.Seal("timestamp")
		}, "no version"},
		"snapshot of version 0": {func(r *repo) {
			r.Timestamp.Signed.Meta[snapshotFile].Version = 0
			r.Seal("timestamp")
		}, "no version"},
		"snapshot without targets": {func(r *repo) {
			delete(r.Snapshot.Signed.Meta, "targets.json")
			r.Seal("snapshot", "timestamp")
		}, "does not list targets"},
		"other bins than the root says": {func(r *repo) {
			r.top().Signed.Delegations.SuccinctRoles.BitLength = 3
			r.Release()
		}, "the root says 4"},
		"more bins than anybody can hold": {func(r *repo) {
			r.top().Signed.Delegations.SuccinctRoles.BitLength = 32
			r.Release()
		}, "2^32 bins"},
		"named roles beside the bins": {func(r *repo) {
			r.top().Signed.Delegations.Roles = []metadata.DelegatedRole{{Name: "bin-0", KeyIDs: []string{}, Threshold: 1}}
			r.Release()
		}, "hashed bins alone"},
		"no delegation": {func(r *repo) {
			r.top().Signed.Delegations = nil
			r.Seal("targets")
		}, "hashed bins alone"},
		"target with two hashes": {func(r *repo) {
			tf := r.Targets[r.Bin("web01")].Signed.Targets["web01/package"]
			tf.Hashes["sha512"] = make([]byte, 64)
			r.Release(r.Bin("web01"))
		}, "not exactly a length and a sha256"},
		"target without custom data": {func(r *repo) {
			r.Targets[r.Bin("web01")].Signed.Targets["web01/package"].Custom = nil
			r.Release(r.Bin("web01"))
		}, "no custom data"},
		"target of a huge length": {func(r *repo) {
			r.Targets[r.Bin("web01")].Signed.Targets["web01/package"].Length = math.MaxInt64
			r.Release(r.Bin("web01"))
		}, "length"},
		"target of no release": {func(r *repo) {
			r.assign("web01", "x", 0)
			r.Release(r.Bin("web01"))
		}, "release 0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			c.bend(r)
			_, err := r.update("", "web01")
			refused(t, err, c.says)
		})
	}
}

func TestOversize(t *testing.T) {
	pad := func(n int64) []byte { return bytes.Repeat([]byte(" "), int(n)+1) }
	for file, limit := range map[string]int64{timestampFile: schema.MaxTimestamp, "1.snapshot.json": schema.MaxSnapshot,
		"1.targets.json": schema.MaxTargets, "2.root.json": schema.MaxRoot} {
		t.Run(file, func(t *testing.T) {
			r := newRepo(t)
			r.Files[file] = pad(limit)
			_, err := r.update("", "web01")
			refused(t, err, "longer than")
		})
	}
	t.Run("target", func(t *testing.T) {
		r := newRepo(t)
		r.top().Signed.Targets[schema.PolicyTarget].Length = schema.MaxTarget + 1
		r.Seal("targets")
		_, err := r.update("", "web01")
		refused(t, err, "target policy")
	})
}
