package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
)

// refused fails the test unless err is a refusal that says this.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !schema.IsRefusal(err) || !strings.Contains(err.Error(), says) {
		t.Errorf("want a refusal with %q, got %v", says, err)
	}
	var p *panicError
	if errors.As(err, &p) {
		t.Errorf("the parser panicked: %v\n%s", p.value, p.stack)
	}
}

// seen is a host that has installed the second release, and the repository as it stood before.
func seen(t *testing.T) (r *repo, dir string, old map[string][]byte) {
	t.Helper()
	r, dir = newRepo(t), t.TempDir()
	r.mustUpdate(dir, "web01", "web01 first")
	old = maps.Clone(r.files)
	r.now = r.now.Add(time.Hour)
	r.assign("web01", "web01 second", 2)
	r.publish(r.bin("web01"))
	r.mustUpdate(dir, "web01", "web01 second")
	return r, dir, old
}

func TestReplayOfAnOldTimestamp(t *testing.T) {
	r, dir, old := seen(t)
	good := r.files[timestampFile]
	r.files[timestampFile] = old[timestampFile]
	_, err := r.update(dir, "web01")
	refused(t, err, "timestamp metadata version 1 is older than version 2")
	var rb *RollbackError
	if !errors.As(err, &rb) || rb.Role != "timestamp" || rb.Got != 1 || rb.Seen != 2 {
		t.Errorf("a lagging site cannot be told: %#v", rb)
	}
	c := r.open(dir)
	if err := c.Refresh(t.Context(), r, old[timestampFile]); err == nil {
		t.Error("taken from a poll's answer")
	}
	if _, v := c.Versions(); v != 2 {
		t.Errorf("timestamp version fell to %d", v)
	}
	r.files[timestampFile] = good
	r.mustUpdate(dir, "web01", "web01 second")
}

func TestRollbackOfTheSnapshotByItsOwnKey(t *testing.T) {
	r, dir, _ := seen(t)
	r.stamp.Signed.Version++
	r.snap.Signed.Version = 1
	r.stamp.Signed.Meta[snapshotFile] = metadata.MetaFile(1)
	r.sealTimestamp()
	_, err := r.update(dir, "web01")
	refused(t, err, "snapshot metadata version 1 is older than version 2")
}

func TestRollbackOfABinInANewSnapshot(t *testing.T) {
	for name, bend := range map[string]func(r *repo, bin string){
		"to a lower version": func(r *repo, bin string) { r.snap.Signed.Meta[bin].Version = 1 },
		"by leaving it out":  func(r *repo, bin string) { delete(r.snap.Signed.Meta, bin) },
	} {
		t.Run(name, func(t *testing.T) {
			r, dir, _ := seen(t)
			bend(r, r.bin("web01")+".json")
			r.snap.Signed.Version++
			r.stamp.Signed.Version++
			r.sealSnapshot()
			r.sealTimestamp()
			_, err := r.update(dir, "web01")
			refused(t, err, r.bin("web01")+".json in snapshot")
		})
	}
}

func TestRollbackOfTargets(t *testing.T) {
	r, dir, _ := seen(t)
	r.snap.Signed.Version++
	r.stamp.Signed.Version++
	r.snap.Signed.Meta["targets.json"].Version = 1
	r.sealSnapshot()
	r.sealTimestamp()
	_, err := r.update(dir, "web01")
	refused(t, err, "targets.json in snapshot metadata version 1")
}

func TestRollbackOfTheRoot(t *testing.T) {
	r, dir, _ := seen(t)
	r.rotate("timestamp", newKey(t))
	r.publish()
	r.mustUpdate(dir, "web01", "web01 second")
	for _, name := range []string{rootFile, copyOf(rootFile)} { // the disk loses the root, the server hides it
		damage(t, dir, name, nil)
	}
	delete(r.files, "2.root.json")
	_, err := r.update(dir, "web01")
	refused(t, err, "root metadata version 1 is older than version 2")
}

func TestFreeze(t *testing.T) {
	for role, after := range map[string]time.Duration{"timestamp": 8 * day, "snapshot": 31 * day, "targets": 366 * day, "root": 366 * day} {
		t.Run(role, func(t *testing.T) {
			r, dir := newRepo(t), t.TempDir()
			r.mustUpdate(dir, "web01", "web01 first")
			c := r.open(dir)
			if err := c.Refresh(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
			far := r.now.Add(1000 * day)
			if role != "root" {
				r.root.Signed.Expires, r.root.Signed.Version = far, 2
				r.signRoot(r.keys["root"]...)
			}
			for other, expires := range map[string]*time.Time{"timestamp": &r.stamp.Signed.Expires,
				"snapshot": &r.snap.Signed.Expires, "targets": &r.targets.Signed.Expires} {
				if other != role {
					*expires = far
				} else {
					*expires = start.Add(after - day)
				}
			}
			r.targets.Signed.Version++
			r.snap.Signed.Version++
			r.stamp.Signed.Version++
			r.sealTargets()
			r.sealSnapshot()
			r.sealTimestamp()
			r.now = start.Add(after)
			err := c.Refresh(t.Context(), r, nil)
			var e *ExpiredError
			if !errors.As(err, &e) || e.Role != role {
				t.Errorf("got %v", err)
			}
			if schema.IsRefusal(err) || schema.HintOf(err) == "" {
				t.Errorf("expiry must be told from a refusal, and hint: %v", err)
			}
			// The state of before, held in memory, is no way around it.
			if _, err := c.Assignment(t.Context(), r, "web01"); !errors.As(err, &e) {
				t.Errorf("an assignment from expired metadata: %v", err)
			}
			if c.Policy() == nil {
				t.Error("the policy, which says where to ask, is gone")
			}
		})
	}
}

func TestFreezeOfOneBin(t *testing.T) {
	r := newRepo(t)
	md := r.bins[r.bin("web01")]
	md.Signed.Expires, md.Signed.Version = start.Add(day), 2
	r.files["2."+r.bin("web01")+".json"] = sign(t, md, r.keys["bins"])
	r.publish()
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assignment(t.Context(), r, "web01"); err != nil {
		t.Fatal(err)
	}
	r.now = start.Add(2 * day)
	var e *ExpiredError
	if _, err := c.Assignment(t.Context(), r, "web01"); !errors.As(err, &e) || e.Role != r.bin("web01") {
		t.Errorf("got %v", err)
	}
}

func TestClockSetBackToReviveExpiredMetadata(t *testing.T) {
	r, dir, _ := seen(t)
	r.now = start.Add(20 * day)
	r.policy.Issued = r.now
	r.publish()
	r.mustUpdate(dir, "web01", "web01 second")
	// The clock falls back to 1970. A timestamp that expired before the newest policy was issued stays expired.
	r.now = time.Unix(0, 0)
	r.stamp.Signed.Version++
	r.stamp.Signed.Expires = start.Add(19 * day)
	r.sealTimestamp()
	_, err := r.update(dir, "web01")
	var e *ExpiredError
	if !errors.As(err, &e) || !e.Now.Equal(start.Add(20*day)) {
		t.Errorf("got %v", err)
	}
}

func TestMixAndMatch(t *testing.T) {
	t.Run("an old snapshot under the new version", func(t *testing.T) {
		r, dir, old := seen(t)
		r.publish()
		r.files["3.snapshot.json"] = old["1.snapshot.json"]
		_, err := r.update(dir, "web01")
		refused(t, err, "3.snapshot.json")
	})
	t.Run("another snapshot of the same version", func(t *testing.T) {
		r, dir, _ := seen(t)
		r.publish()
		r.snap.Signed.Expires = r.snap.Signed.Expires.Add(time.Hour)
		r.files["3.snapshot.json"] = sign(t, r.snap, r.keys["snapshot"])
		_, err := r.update(dir, "web01")
		refused(t, err, "3.snapshot.json")
	})
	t.Run("an old bin under the new version", func(t *testing.T) {
		r, _, old := seen(t)
		bin := r.bin("web01")
		r.files["2."+bin+".json"] = old["1."+bin+".json"]
		_, err := r.update("", "web01")
		refused(t, err, "2."+bin+".json")
	})
	t.Run("another bin", func(t *testing.T) {
		r := newRepo(t)
		other := "bin-0"
		if r.bin("web01") == other {
			other = "bin-1"
		}
		r.files["1."+r.bin("web01")+".json"] = r.files["1."+other+".json"]
		if _, err := r.update("", "web01"); !errors.Is(err, ErrNoTarget) {
			t.Errorf("got %v", err) // validly signed; it just does not list the host
		}
	})
	t.Run("metadata of another fleet", func(t *testing.T) {
		r, other := newRepo(t), newRepo(t)
		r.files[timestampFile] = other.files[timestampFile]
		_, err := r.update("", "web01")
		refused(t, err, "not enough signatures")
	})
}

func TestTargetInAForeignBinIsRefused(t *testing.T) {
	r := newRepo(t)
	bin, other := r.bin("web01"), "bin-0"
	if bin == other {
		other = "bin-1"
	}
	r.bins[other].Signed.Targets["web01/package"] = r.bins[bin].Signed.Targets["web01/package"]
	r.publish(other)
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range c.All(t.Context(), r) {
		got = errors.Join(got, err)
	}
	refused(t, got, "does not belong here")
}

func TestPolicySwapped(t *testing.T) {
	r, dir, _ := seen(t)
	r.policy.Enabled = false
	r.publish()
	forged := r.policy
	forged.Enabled = true
	b, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	for d := range r.content {
		r.content[d] = b
	}
	_, err = r.update(dir, "web01")
	refused(t, err, "target policy")
	var altered *schema.AlteredError
	if !errors.As(err, &altered) {
		t.Errorf("got %T", err)
	}
}

func TestPolicyOfAnotherFleet(t *testing.T) {
	r := newRepo(t)
	r.policy.Fleet = "evil"
	r.publish()
	_, err := r.update("", "web01")
	refused(t, err, `policy is of fleet "evil"`)
}

func TestAccessAndPolicyAreNotMixed(t *testing.T) {
	r := newRepo(t)
	access, err := json.Marshal(schema.Access{Schema: 1, Users: map[string]schema.User{"ann": {Hash: "x"}}})
	if err != nil {
		t.Fatal(err)
	}
	r.target(schema.AccessTarget, access)
	r.publish()
	policyHash := schema.Digest(r.targets.Signed.Targets[schema.PolicyTarget].Hashes["sha256"])
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Access(t.Context(), r); err != nil || a.Users["ann"].Hash != "x" {
		t.Errorf("%+v, %v", a, err)
	}
	r.content[schema.DigestOf(access)] = r.content[policyHash]
	_, err = c.Access(t.Context(), r)
	refused(t, err, "target access")
	if _, err := c.Release(t.Context(), r); !errors.Is(err, ErrNoTarget) {
		t.Errorf("release: %v", err)
	}
}

func TestUnsignedAndForeignSignatures(t *testing.T) {
	thief := newKey(t)
	for role, forge := range map[string]func(r *repo, keys []testKey){
		"timestamp": func(r *repo, keys []testKey) { r.files[timestampFile] = sign(t, r.stamp, keys) },
		"snapshot": func(r *repo, keys []testKey) {
			r.keys["snapshot"] = keys
			r.sealSnapshot()
			r.sealTimestamp()
		},
		"targets": func(r *repo, keys []testKey) { r.files["3.targets.json"] = sign(t, r.targets, keys) },
		"bin": func(r *repo, keys []testKey) {
			r.files["3."+r.bin("web01")+".json"] = sign(t, r.bins[r.bin("web01")], keys)
		},
		"root": func(r *repo, keys []testKey) {
			r.root.Signed.Version++
			r.signRoot(keys...)
		},
		"root by the old key alone": func(r *repo, keys []testKey) {
			old := r.keys["root"]
			if err := r.root.Signed.RevokeKey(old[0].id, "root"); err != nil {
				t.Fatal(err)
			}
			r.allow("root", thief)
			r.root.Signed.Version++
			r.signRoot(old...)
		},
	} {
		for how, keys := range map[string][]testKey{"unsigned": nil, "by a foreign key": {thief}} {
			t.Run(role+" "+how, func(t *testing.T) {
				r, dir, _ := seen(t)
				r.assign("web01", "evil", 3)
				r.publish(r.bin("web01"))
				forge(r, keys)
				_, err := r.update(dir, "web01")
				refused(t, err, "not enough signatures")
			})
		}
	}
}

func TestKeyOfAnotherRoleDoesNotCount(t *testing.T) {
	r := newRepo(t)
	r.files["1.targets.json"] = sign(t, r.targets, r.keys["timestamp"])
	_, err := r.update("", "web01")
	refused(t, err, "not enough signatures")
}

func TestKeyRemovedFromTheRootStillSigning(t *testing.T) {
	r, dir, _ := seen(t)
	stolen := r.keys["timestamp"]
	r.rotate("timestamp", newKey(t))
	r.publish()
	r.mustUpdate(dir, "web01", "web01 second")
	r.stamp.Signed.Version++
	r.files[timestampFile] = sign(t, r.stamp, stolen)
	_, err := r.update(dir, "web01")
	refused(t, err, "not enough signatures")
}

func TestOneKeyCountedTwice(t *testing.T) {
	two := func(t *testing.T) *repo {
		r := newRepo(t)
		r.allow("timestamp", newKey(t))
		r.root.Signed.Roles["timestamp"].Threshold = 2
		r.signRoot(r.keys["root"]...)
		return r
	}
	t.Run("its signature stands twice", func(t *testing.T) {
		r := two(t)
		sign(t, r.stamp, r.keys["timestamp"])
		r.stamp.Signatures = append(r.stamp.Signatures, r.stamp.Signatures[0])
		r.files[timestampFile] = bytesOf(t, r.stamp)
		_, err := r.update("", "web01")
		refused(t, err, "multiple signatures")
	})
	t.Run("under two key ids", func(t *testing.T) {
		r := two(t)
		k := r.keys["timestamp"][0]
		alias := *k.key
		alias.UnrecognizedFields = map[string]any{"x": "other id"}
		id := strings.Repeat("a", 64)
		r.root.Signed.Keys[id] = &alias
		r.root.Signed.Roles["timestamp"].KeyIDs = append(r.root.Signed.Roles["timestamp"].KeyIDs, id)
		r.signRoot(r.keys["root"]...)
		sign(t, r.stamp, r.keys["timestamp"])
		again := r.stamp.Signatures[0]
		again.KeyID = id
		r.stamp.Signatures = append(r.stamp.Signatures, again)
		r.files[timestampFile] = bytesOf(t, r.stamp)
		_, err := r.update("", "web01")
		refused(t, err, "not enough signatures, got 1, want 2")
	})
	t.Run("listed twice in the role", func(t *testing.T) {
		r := two(t)
		k := r.keys["timestamp"][0]
		r.root.Signed.Roles["timestamp"].KeyIDs = []string{k.id, k.id}
		r.signRoot(r.keys["root"]...)
		_, err := r.update("", "web01")
		refused(t, err, "not enough signatures, got 1, want 2")
	})
}

func bytesOf[T metadata.Roles](t *testing.T, md *metadata.Metadata[T]) []byte {
	t.Helper()
	b, err := md.ToBytes(false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A thief with an online key can push versions to the end of the range. The root that drops the key brings hosts back.
func TestStolenKeySignsAHugeVersionAndANewRootRecovers(t *testing.T) {
	t.Run("timestamp", func(t *testing.T) {
		r, dir, _ := seen(t)
		honest := r.stamp.Signed.Version
		r.stamp.Signed.Version = math.MaxInt64
		r.sealTimestamp()
		r.mustUpdate(dir, "web01", "web01 second")
		r.stamp.Signed.Version = honest
		r.publish()
		_, err := r.update(dir, "web01")
		refused(t, err, "is older than version")
		r.rotate("timestamp", newKey(t))
		r.publish()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("timestamp and snapshot", func(t *testing.T) {
		r, dir, _ := seen(t)
		snap, stamp := r.snap.Signed.Version, r.stamp.Signed.Version
		r.snap.Signed.Version, r.stamp.Signed.Version = math.MaxInt64, math.MaxInt64
		r.sealSnapshot()
		r.sealTimestamp()
		r.mustUpdate(dir, "web01", "web01 second")
		r.snap.Signed.Version, r.stamp.Signed.Version = snap, stamp
		r.rotate("snapshot", newKey(t))
		r.rotate("timestamp", newKey(t))
		r.publish()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("snapshot lists a huge bin", func(t *testing.T) {
		r, dir, _ := seen(t)
		file := r.bin("web01") + ".json"
		r.snap.Signed.Meta[file].Version = math.MaxInt64
		r.snap.Signed.Version++
		r.stamp.Signed.Version++
		r.sealSnapshot()
		r.sealTimestamp()
		if _, err := r.update(dir, "web01"); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
		r.rotate("snapshot", newKey(t))
		r.rotate("timestamp", newKey(t))
		r.publish()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("targets sign the year 9999", func(t *testing.T) {
		r, dir, _ := seen(t)
		r.policy.Issued = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		r.publish()
		var e *ExpiredError
		r.update(dir, "web01") // the first time the new floor is not yet believed
		if _, err := r.update(dir, "web01"); !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		r.policy.Issued = r.now
		r.rotate("targets", newKey(t))
		r.publish()
		r.mustUpdate(dir, "web01", "web01 second")
	})
}

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
		"empty":             {func([]byte) []byte { return nil }, "EOF"},
		"not JSON":          {func([]byte) []byte { return []byte("<html>504</html>") }, "invalid character"},
		"truncated":         {func(b []byte) []byte { return b[:len(b)/2] }, ""},
		"null":              {func([]byte) []byte { return []byte("null") }, "null"},
		"an array":          {func([]byte) []byte { return []byte("[]") }, ""},
		"a number":          {func([]byte) []byte { return []byte("7") }, ""},
		"no signed part":    {func([]byte) []byte { return []byte(`{"signatures":[]}`) }, "signed"},
		"signed is null":    {func([]byte) []byte { return []byte(`{"signed":null,"signatures":[]}`) }, "null"},
		"null signatures":   {func([]byte) []byte { return []byte(`{"signed":{},"signatures":[null]}`) }, "null"},
		"deep":              {func([]byte) []byte { return deep }, "nested deeper"},
		"two JSON values":   {func(b []byte) []byte { return append(slices.Clone(b), b...) }, "data after"},
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
				r.publish(r.bin("web01"))
				if file == "2.bin" {
					file = "2." + r.bin("web01") + ".json"
				}
				if file == "2.root.json" {
					r.rotate("timestamp", newKey(t))
					r.publish()
				}
				r.files[file] = c.bend(r.files[file])
				if file == "2.snapshot.json" { // past the hash in the timestamp, to the parser
					r.stamp.Signed.Meta[snapshotFile] = metadata.MetaFile(2)
					r.sealTimestamp()
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
			r.files[c.file] = []byte(c.body)
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
			r.stamp.Signed.Meta = map[string]*metadata.MetaFiles{}
			r.sealTimestamp()
		}, "no version"},
		"snapshot of version 0": {func(r *repo) {
			r.stamp.Signed.Meta[snapshotFile].Version = 0
			r.sealTimestamp()
		}, "no version"},
		"snapshot without targets": {func(r *repo) {
			delete(r.snap.Signed.Meta, "targets.json")
			r.sealSnapshot()
			r.sealTimestamp()
		}, "does not list targets"},
		"other bins than the root says": {func(r *repo) {
			r.targets.Signed.Delegations.SuccinctRoles.BitLength = 3
			r.publish()
		}, "the root says 4"},
		"more bins than anybody can hold": {func(r *repo) {
			r.targets.Signed.Delegations.SuccinctRoles.BitLength = 32
			r.publish()
		}, "2^32 bins"},
		"named roles beside the bins": {func(r *repo) {
			r.targets.Signed.Delegations.Roles = []metadata.DelegatedRole{{Name: "bin-0", KeyIDs: []string{}, Threshold: 1}}
			r.publish()
		}, "hashed bins alone"},
		"no delegation": {func(r *repo) {
			r.targets.Signed.Delegations = nil
			r.sealTargets()
		}, "hashed bins alone"},
		"target with two hashes": {func(r *repo) {
			tf := r.bins[r.bin("web01")].Signed.Targets["web01/package"]
			tf.Hashes["sha512"] = make([]byte, 64)
			r.publish(r.bin("web01"))
		}, "not exactly a length and a sha256"},
		"target without custom data": {func(r *repo) {
			r.bins[r.bin("web01")].Signed.Targets["web01/package"].Custom = nil
			r.publish(r.bin("web01"))
		}, "no custom data"},
		"target of a huge length": {func(r *repo) {
			r.bins[r.bin("web01")].Signed.Targets["web01/package"].Length = math.MaxInt64
			r.publish(r.bin("web01"))
		}, "length"},
		"target of no release": {func(r *repo) {
			r.assign("web01", "x", 0)
			r.publish(r.bin("web01"))
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
			r.files[file] = pad(limit)
			_, err := r.update("", "web01")
			refused(t, err, "longer than")
		})
	}
	t.Run("target", func(t *testing.T) {
		r := newRepo(t)
		r.targets.Signed.Targets[schema.PolicyTarget].Length = schema.MaxTarget + 1
		r.sealTargets()
		_, err := r.update("", "web01")
		refused(t, err, "target policy")
	})
}

func TestUnreachableIsNotARefusal(t *testing.T) {
	for _, file := range []string{"2.root.json", timestampFile, "1.snapshot.json", "1.targets.json", "policy"} {
		t.Run(file, func(t *testing.T) {
			r := newRepo(t)
			r.fail[file] = errors.New("connection reset")
			_, err := r.update("", "web01")
			if !errors.Is(err, ErrUnreachable) || schema.IsRefusal(err) || !strings.Contains(err.Error(), "connection reset") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a file that signed metadata name is not there", func(t *testing.T) {
		r := newRepo(t)
		delete(r.files, "1.snapshot.json")
		if _, err := r.update("", "web01"); !errors.Is(err, ErrUnreachable) || schema.IsRefusal(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEndlessRoots(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	for range maxRoots + 10 {
		r.root.Signed.Version++
		r.signRoot(r.keys["root"]...)
	}
	r.mustUpdate(dir, "web01", "web01 first")
	c := r.open(dir)
	if v, _ := c.Versions(); v != maxRoots+1 {
		t.Errorf("root %d after one walk", v)
	}
	r.mustUpdate(dir, "web01", "web01 first")
	if v, _ := r.open(dir).Versions(); v != maxRoots+11 {
		t.Errorf("root %d after two walks", v)
	}
}

func TestHostMovedToAnotherFleet(t *testing.T) {
	r, dir, _ := seen(t)
	other := newRepo(t)
	other.mustUpdate(dir, "web01", "web01 first") // version 1 of all, below what the host has seen
	c := other.open(dir)
	if c.HasRoot(schema.DigestOf(r.anchor())) {
		t.Error("the old fleet's root is still trusted")
	}
	if root, stamp := c.Versions(); root != 1 || stamp != 1 {
		t.Errorf("root %d, timestamp %d", root, stamp)
	}
}

func TestOlderAnchorDoesNotRollTheRootBack(t *testing.T) {
	r, dir, _ := seen(t)
	r.rotate("timestamp", newKey(t))
	r.publish()
	r.mustUpdate(dir, "web01", "web01 second")
	delete(r.files, "2.root.json") // a rolled-back package brings root 1 again, and the server hides root 2
	c, err := Open(dir, r.anchor(), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := c.Versions(); v != 2 {
		t.Errorf("root version %d", v)
	}
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
}

func TestNewerAnchorIsTaken(t *testing.T) {
	r, dir, _ := seen(t)
	for range 3 {
		r.rotate("timestamp", newKey(t))
	}
	r.publish()
	c, err := Open(dir, r.files["4.root.json"], r.clock)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"2.root.json", "3.root.json"} {
		delete(r.files, gone)
	}
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Error(err)
	}
	if !c.HasRoot(schema.DigestOf(r.anchor())) || !c.HasRoot(schema.DigestOf(r.files["4.root.json"])) {
		t.Error("the chain lost a root")
	}
}

func TestDamagedAnchorSaysWhatToDo(t *testing.T) {
	r := newRepo(t)
	for _, b := range [][]byte{nil, []byte("{}"), r.anchor()[:200], bytes.Replace(r.anchor(), []byte(`"bins":4`), []byte(`"bins":8`), 1)} {
		_, err := Open("", b, r.clock)
		if err == nil || !strings.Contains(fmt.Sprint(err), "anchor root") || schema.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	}
}
