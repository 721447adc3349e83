package trust

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/trust/trusttest"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

func TestUnsignedAndForeignSignatures(t *testing.T) {
	thief := trusttest.NewKey()
	for role, forge := range map[string]func(r *repo, keys []trusttest.Key){
		"timestamp": func(r *repo, keys []trusttest.Key) { r.Files[timestampFile] = trusttest.Sign(r.Timestamp, keys...) },
		"snapshot": func(r *repo, keys []trusttest.Key) {
			r.Signers["snapshot"] = keys
			r.Seal("snapshot", "timestamp")
		},
		"targets": func(r *repo, keys []trusttest.Key) { r.Files["3.targets.json"] = trusttest.Sign(r.top(), keys...) },
		"bin": func(r *repo, keys []trusttest.Key) {
			r.Files["3."+r.Bin("web01")+".json"] = trusttest.Sign(r.Targets[r.Bin("web01")], keys...)
		},
		"root": func(r *repo, keys []trusttest.Key) {
			r.Root.Signed.Version++
			r.Files["2.root.json"] = r.Signed("root", keys...)
		},
		"root by the old key alone": func(r *repo, keys []trusttest.Key) {
			old := r.Signers["root"]
			if err := r.Root.Signed.RevokeKey(old[0].ID(), "root"); err != nil {
				t.Fatal(err)
			}
			r.Allow("root", thief)
			r.Root.Signed.Version++
			r.Files["2.root.json"] = r.Signed("root", old...)
		},
	} {
		for how, keys := range map[string][]trusttest.Key{"unsigned": nil, "by a foreign key": {thief}} {
			t.Run(role+" "+how, func(t *testing.T) {
				r, dir, _ := seen(t)
				r.assign("web01", "evil", 3)
				r.Release(r.Bin("web01"))
				forge(r, keys)
				_, err := r.update(dir, "web01")
				refused(t, err, "not enough signatures")
			})
		}
	}
}

func TestKeyOfAnotherRoleDoesNotCount(t *testing.T) {
	r := newRepo(t)
	r.Files["1.targets.json"] = trusttest.Sign(r.top(), r.Signers["timestamp"]...)
	_, err := r.update("", "web01")
	refused(t, err, "not enough signatures")
}

func TestKeyRemovedFromTheRootStillSigning(t *testing.T) {
	r, dir, _ := seen(t)
	stolen := r.Signers["timestamp"]
	r.rotate("timestamp")
	r.Release()
	r.mustUpdate(dir, "web01", "web01 second")
	r.Timestamp.Signed.Version++
	r.Files[timestampFile] = trusttest.Sign(r.Timestamp, stolen...)
	_, err := r.update(dir, "web01")
	refused(t, err, "not enough signatures")
}

func TestOneKeyCountedTwice(t *testing.T) {
	two := func(t *testing.T) *repo {
		r := newRepo(t)
		if err := r.Root.Signed.AddKey(trusttest.NewKey().Pub, "timestamp"); err != nil {
			t.Fatal(err)
		}
		r.Root.Signed.Roles["timestamp"].Threshold = 2
		r.Publish("root")
		return r
	}
	t.Run("its signature stands twice", func(t *testing.T) {
		r := two(t)
		trusttest.Sign(r.Timestamp, r.Signers["timestamp"]...)
		r.Timestamp.Signatures = append(r.Timestamp.Signatures, r.Timestamp.Signatures[0])
		r.Files[timestampFile] = bytesOf(t, r.Timestamp)
		_, err := r.update("", "web01")
		refused(t, err, "multiple signatures")
	})
	t.Run("under two key ids", func(t *testing.T) {
		r := two(t)
		k := r.Signers["timestamp"][0]
		alias := *k.Pub
		alias.UnrecognizedFields = map[string]any{"x": "other id"}
		id := strings.Repeat("a", 64)
		r.Root.Signed.Keys[id] = &alias
		r.Root.Signed.Roles["timestamp"].KeyIDs = append(r.Root.Signed.Roles["timestamp"].KeyIDs, id)
		r.Publish("root")
		trusttest.Sign(r.Timestamp, r.Signers["timestamp"]...)
		again := r.Timestamp.Signatures[0]
		again.KeyID = id
		r.Timestamp.Signatures = append(r.Timestamp.Signatures, again)
		r.Files[timestampFile] = bytesOf(t, r.Timestamp)
		_, err := r.update("", "web01")
		refused(t, err, "not enough signatures, got 1, want 2")
	})
	t.Run("listed twice in the role", func(t *testing.T) {
		r := two(t)
		k := r.Signers["timestamp"][0]
		r.Root.Signed.Roles["timestamp"].KeyIDs = []string{k.ID(), k.ID()}
		r.Publish("root")
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
		honest := r.Timestamp.Signed.Version
		r.Timestamp.Signed.Version = math.MaxInt64
		r.Seal("timestamp")
		r.mustUpdate(dir, "web01", "web01 second")
		r.Timestamp.Signed.Version = honest
		r.Release()
		_, err := r.update(dir, "web01")
		refused(t, err, "is older than version")
		r.rotate("timestamp")
		r.Release()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("timestamp and snapshot", func(t *testing.T) {
		r, dir, _ := seen(t)
		snap, stamp := r.Snapshot.Signed.Version, r.Timestamp.Signed.Version
		r.Snapshot.Signed.Version, r.Timestamp.Signed.Version = math.MaxInt64, math.MaxInt64
		r.Seal("snapshot", "timestamp")
		r.mustUpdate(dir, "web01", "web01 second")
		r.Snapshot.Signed.Version, r.Timestamp.Signed.Version = snap, stamp
		r.rotate("snapshot")
		r.rotate("timestamp")
		r.Release()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("snapshot lists a huge bin", func(t *testing.T) {
		r, dir, _ := seen(t)
		file := r.Bin("web01") + ".json"
		r.Snapshot.Signed.Meta[file].Version = math.MaxInt64
		r.PublishAll()
		if _, err := r.update(dir, "web01"); !errors.Is(err, ErrUnreachable) {
			t.Fatalf("got %v", err)
		}
		r.rotate("snapshot")
		r.rotate("timestamp")
		r.Release()
		r.mustUpdate(dir, "web01", "web01 second")
	})
	t.Run("targets sign the year 9999", func(t *testing.T) {
		r, dir, _ := seen(t)
		r.Policy.Issued = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
		r.Release()
		var e *ExpiredError
		r.update(dir, "web01") // the first time the new floor is not yet believed
		if _, err := r.update(dir, "web01"); !errors.As(err, &e) {
			t.Fatalf("got %v", err)
		}
		r.Policy.Issued = r.Now
		r.rotate("targets")
		r.Release()
		r.mustUpdate(dir, "web01", "web01 second")
	})
}

// With a new snapshot key the versions that the old one listed no longer count; those of the bins themselves do.
func TestRollbackOfABinByANewSnapshotKey(t *testing.T) {
	for _, file := range []string{"bin", "targets"} {
		t.Run(file, func(t *testing.T) {
			r, dir, _ := seen(t)
			r.rotate("snapshot")
			r.Release()
			role := file
			if file == "bin" {
				role = r.Bin("web01")
			}
			r.Snapshot.Signed.Meta[role+".json"].Version = 1
			r.Seal("snapshot", "timestamp")
			_, err := r.update(dir, "web01")
			refused(t, err, role+" metadata version 1 is older than version 2")
		})
	}
}
