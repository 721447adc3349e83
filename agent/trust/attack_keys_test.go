package trust

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

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

// With a new snapshot key the versions that the old one listed no longer count; those of the bins themselves do.
func TestRollbackOfABinByANewSnapshotKey(t *testing.T) {
	for _, file := range []string{"bin", "targets"} {
		t.Run(file, func(t *testing.T) {
			r, dir, _ := seen(t)
			r.rotate("snapshot", newKey(t))
			r.publish()
			role := file
			if file == "bin" {
				role = r.bin("web01")
			}
			r.snap.Signed.Meta[role+".json"].Version = 1
			r.sealSnapshot()
			r.sealTimestamp()
			_, err := r.update(dir, "web01")
			refused(t, err, role+" metadata version 1 is older than version 2")
		})
	}
}
