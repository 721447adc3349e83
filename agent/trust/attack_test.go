package trust

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/kept"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// refused fails the test unless err is a refusal that says this.
func refused(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !fault.IsRefusal(err) || !strings.Contains(err.Error(), says) {
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
	old = maps.Clone(r.Files)
	r.Now = r.Now.Add(time.Hour)
	r.assign("web01", "web01 second", 2)
	r.Release(r.Bin("web01"))
	r.mustUpdate(dir, "web01", "web01 second")
	return r, dir, old
}

func TestReplayOfAnOldTimestamp(t *testing.T) {
	r, dir, old := seen(t)
	good := r.Files[timestampFile]
	r.Files[timestampFile] = old[timestampFile]
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
	r.Files[timestampFile] = good
	r.mustUpdate(dir, "web01", "web01 second")
}

func TestRollbackOfTheSnapshotByItsOwnKey(t *testing.T) {
	r, dir, _ := seen(t)
	r.Timestamp.Signed.Version++
	r.Snapshot.Signed.Version = 1
	r.Timestamp.Signed.Meta[snapshotFile] = metadata.MetaFile(1)
	r.Seal("timestamp")
	_, err := r.update(dir, "web01")
	refused(t, err, "snapshot metadata version 1 is older than version 2")
	var rb *RollbackError
	if !errors.As(err, &rb) || rb.Role != "snapshot" {
		t.Errorf("found by another check: %v", err)
	}
}

func TestRollbackOfABinInANewSnapshot(t *testing.T) {
	for name, bend := range map[string]func(r *repo, bin string){
		"to a lower version": func(r *repo, bin string) { r.Snapshot.Signed.Meta[bin].Version = 1 },
		"by leaving it out":  func(r *repo, bin string) { delete(r.Snapshot.Signed.Meta, bin) },
	} {
		t.Run(name, func(t *testing.T) {
			r, dir, _ := seen(t)
			bend(r, r.Bin("web01")+".json")
			r.PublishAll()
			_, err := r.update(dir, "web01")
			refused(t, err, r.Bin("web01")+".json in snapshot")
		})
	}
}

func TestRollbackOfTargets(t *testing.T) {
	r, dir, _ := seen(t)
	r.Snapshot.Signed.Meta["targets.json"].Version = 1
	r.PublishAll()
	_, err := r.update(dir, "web01")
	refused(t, err, "targets.json in snapshot metadata version 1")
}

func TestRollbackOfTheRoot(t *testing.T) {
	r, dir, _ := seen(t)
	r.rotate("timestamp")
	r.Release()
	r.mustUpdate(dir, "web01", "web01 second")
	for _, name := range []string{rootFile, kept.CopyOf(rootFile)} { // the disk loses the root, the server hides it
		damage(t, dir, name, nil)
	}
	delete(r.Files, "2.root.json")
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
			far := r.Now.Add(1000 * day)
			if role != "root" {
				r.Root.Signed.Expires = far
				r.Publish("root")
			}
			for other, expires := range map[string]*time.Time{"timestamp": &r.Timestamp.Signed.Expires,
				"snapshot": &r.Snapshot.Signed.Expires, "targets": &r.top().Signed.Expires} {
				if other != role {
					*expires = far
				} else {
					*expires = start.Add(after - day)
				}
			}
			r.PublishAll("targets")
			r.Now = start.Add(after)
			err := c.Refresh(t.Context(), r, nil)
			var e *ExpiredError
			if !errors.As(err, &e) || e.Role != role {
				t.Errorf("got %v", err)
			}
			if fault.IsRefusal(err) || fault.HintOf(err) == "" {
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
	md := r.Targets[r.Bin("web01")]
	md.Signed.Expires, md.Signed.Version = start.Add(day), 2
	r.Seal(r.Bin("web01"))
	r.Release()
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assignment(t.Context(), r, "web01"); err != nil {
		t.Fatal(err)
	}
	r.Now = start.Add(2 * day)
	var e *ExpiredError
	if _, err := c.Assignment(t.Context(), r, "web01"); !errors.As(err, &e) || e.Role != r.Bin("web01") {
		t.Errorf("got %v", err)
	}
}

func TestClockSetBackToReviveExpiredMetadata(t *testing.T) {
	r, dir, _ := seen(t)
	r.Now = start.Add(20 * day)
	r.Policy.Issued = r.Now
	r.Release()
	r.mustUpdate(dir, "web01", "web01 second")
	// The clock falls back to 1970. A timestamp that expired before the newest policy was issued stays expired.
	r.Now = time.Unix(0, 0)
	r.Timestamp.Signed.Version++
	r.Timestamp.Signed.Expires = start.Add(19 * day)
	r.Seal("timestamp")
	_, err := r.update(dir, "web01")
	var e *ExpiredError
	if !errors.As(err, &e) || !e.Now.Equal(start.Add(20*day)) {
		t.Errorf("got %v", err)
	}
}

func TestMixAndMatch(t *testing.T) {
	t.Run("an old snapshot under the new version", func(t *testing.T) {
		r, dir, old := seen(t)
		r.Release()
		r.Files["3.snapshot.json"] = old["1.snapshot.json"]
		_, err := r.update(dir, "web01")
		refused(t, err, "3.snapshot.json")
	})
	t.Run("another snapshot of the same version", func(t *testing.T) {
		r, dir, _ := seen(t)
		r.Release()
		r.Snapshot.Signed.Expires = r.Snapshot.Signed.Expires.Add(time.Hour)
		r.Files["3.snapshot.json"] = trusttest.Sign(r.Snapshot, r.Signers["snapshot"]...)
		_, err := r.update(dir, "web01")
		refused(t, err, "3.snapshot.json")
	})
	t.Run("an old bin under the new version", func(t *testing.T) {
		r, _, old := seen(t)
		bin := r.Bin("web01")
		r.Files["2."+bin+".json"] = old["1."+bin+".json"]
		_, err := r.update("", "web01")
		refused(t, err, "2."+bin+".json")
	})
	// Each is signed by the key of all bins and of the version that the snapshot lists. Believed, it would hold the host
	// back for as long as the server likes: the fleet seems to have nothing for it.
	for how, bend := range map[string]func(r *repo, another string) *metadata.Metadata[metadata.TargetsType]{
		"another bin": func(r *repo, another string) *metadata.Metadata[metadata.TargetsType] { return r.Targets[another] },
		"an empty bin": func(r *repo, another string) *metadata.Metadata[metadata.TargetsType] {
			clear(r.Targets[another].Signed.Targets)
			return r.Targets[another]
		},
		"a bin without a name": func(r *repo, another string) *metadata.Metadata[metadata.TargetsType] {
			maps.Copy(r.Targets[another].Signed.Targets, r.Targets[r.Bin("web01")].Signed.Targets)
			delete(r.Targets[another].Signed.Targets, "web01/package")
			r.Targets[another].Signed.Targets["policy"] = r.top().Signed.Targets["policy"]
			r.Targets[another].Signed.UnrecognizedFields = nil
			return r.Targets[another]
		},
		"targets": func(r *repo, _ string) *metadata.Metadata[metadata.TargetsType] { return r.top() },
		"targets without a name": func(r *repo, _ string) *metadata.Metadata[metadata.TargetsType] {
			r.top().Signed.UnrecognizedFields = nil
			return r.top()
		},
	} {
		t.Run(how+" in the place of the host's bin", func(t *testing.T) {
			r := newRepo(t)
			bin, another := r.Bin("web01"), "bin-0"
			if bin == another {
				another = "bin-1"
			}
			r.Files["1."+bin+".json"] = trusttest.Sign(bend(r, another), r.Signers["bin-0"]...)
			_, err := r.update("", "web01")
			refused(t, err, bin)
		})
	}
	t.Run("a bin in the place of targets", func(t *testing.T) {
		r, dir, _ := seen(t)
		bin := r.Files["2."+r.Bin("web01")+".json"]
		damage(t, dir, "2.targets.json", func([]byte) []byte { return bin })
		r.mustUpdate(dir, "web01", "web01 second")
		r.Files["2.targets.json"] = bin
		_, err := r.update("", "web01")
		refused(t, err, "targets")
	})
	t.Run("metadata of another fleet", func(t *testing.T) {
		r, other := newRepo(t), newRepo(t)
		r.Files[timestampFile] = other.Files[timestampFile]
		_, err := r.update("", "web01")
		refused(t, err, "not enough signatures")
	})
}

func TestTargetInAForeignBinIsRefused(t *testing.T) {
	r := newRepo(t)
	bin, other := r.Bin("web01"), "bin-0"
	if bin == other {
		other = "bin-1"
	}
	r.Targets[other].Signed.Targets["web01/package"] = r.Targets[bin].Signed.Targets["web01/package"]
	r.Release(other)
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

// Hosts with the same timestamp, snapshot and targets could be given different packages, one version of a bin each. Who
// reads all of a release sees that theirs is not the one that was signed.
func TestTwoBinsUnderOneVersion(t *testing.T) {
	all := func(t *testing.T, r *repo) (got error) {
		c := r.open("")
		if err := c.Refresh(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		for _, err := range c.All(t.Context(), r) {
			got = errors.Join(got, err)
		}
		_, err := c.Assignment(t.Context(), r, "web01")
		if (err == nil) != (got == nil) {
			t.Errorf("of all bins: %v; of one: %v", got, err)
		}
		return got
	}
	r := newRepo(t)
	if err := all(t, r); err != nil {
		t.Fatal(err)
	}
	bin := r.Bin("web01")
	name := fmt.Sprintf("%d.%s.json", r.Targets[bin].Signed.Version, bin)
	honest := r.Files[name]
	delete(r.Targets[bin].Signed.Targets, "web01/package")
	r.Files[name] = r.Signed(bin, r.Signers[bin]...) // whoever has the key of targets, and the store
	refused(t, all(t, r), "snapshot.json names another file: "+name)

	r.Files[name] = honest
	root := r.Snapshot.Signed.UnrecognizedFields
	r.Snapshot.Signed.UnrecognizedFields = nil
	r.PublishAll()
	refused(t, all(t, r), "names no tree")

	r.Snapshot.Signed.UnrecognizedFields = root
	r.Snapshot.Signed.Meta["bin-0.json"].Version++
	r.PublishAll()
	refused(t, all(t, r), "in another version than its tree")

	r.Snapshot.Signed.Meta["bin-0.json"].Version--
	r.PublishAll()
	for key, b := range r.Objects {
		if strings.HasPrefix(key, schema.TreeDir) {
			r.Objects[key] = bytes.Replace(b, []byte("bin-0 1"), []byte("bin-0 2"), 1)
		}
	}
	refused(t, all(t, r), "tree")
}

func TestPolicySwapped(t *testing.T) {
	r, dir, _ := seen(t)
	r.Policy.Enabled = false
	r.Release()
	forged := r.Policy
	forged.Enabled = true
	b, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	for key := range r.Objects {
		r.Objects[key] = b
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
	r.Policy.Fleet = "evil"
	r.Release()
	_, err := r.update("", "web01")
	refused(t, err, `policy belongs to fleet "evil"`)
}

func TestAccessAndPolicyAreNotMixed(t *testing.T) {
	r := newRepo(t)
	r.More[schema.AccessTarget] = schema.Access{Schema: 1, Users: map[string]schema.User{"ann": {Hash: "x"}}}
	r.Release()
	stored := func(target string) string {
		return schema.TargetKey(schema.Digest(r.top().Signed.Targets[target].Hashes["sha256"]))
	}
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Access(t.Context(), r); err != nil || a.Users["ann"].Hash != "x" {
		t.Errorf("%+v, %v", a, err)
	}
	r.Objects[stored(schema.AccessTarget)] = r.Objects[stored(schema.PolicyTarget)]
	_, err := c.Access(t.Context(), r)
	refused(t, err, "target access")
	if _, err := c.Release(t.Context(), r); !errors.Is(err, ErrNoTarget) {
		t.Errorf("release: %v", err)
	}
}

func TestUnreachableIsNotARefusal(t *testing.T) {
	for _, file := range []string{"2.root.json", timestampFile, "1.snapshot.json", "1.targets.json", "policy"} {
		t.Run(file, func(t *testing.T) {
			r := newRepo(t)
			r.Fail[file] = errors.New("connection reset")
			_, err := r.update("", "web01")
			if !errors.Is(err, ErrUnreachable) || fault.IsRefusal(err) || !strings.Contains(err.Error(), "connection reset") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("a file that signed metadata name is not there", func(t *testing.T) {
		r := newRepo(t)
		delete(r.Files, "1.snapshot.json")
		if _, err := r.update("", "web01"); !errors.Is(err, ErrUnreachable) || fault.IsRefusal(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestEndlessRoots(t *testing.T) {
	r, dir := newRepo(t), t.TempDir()
	for range maxRoots + 10 {
		r.Publish("root")
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
