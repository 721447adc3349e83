package publish

import (
	"bytes"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// replace drops the keys of these uses in one next root, for new ones.
func (f *testFleet) replace(uses ...string) {
	f.t.Helper()
	for i, use := range testUses {
		if i > 0 {
			f.Roots = f.Roots[:len(f.Roots)-1] // all of it is one root
		}
		f.rotate(use)
	}
}

// The attacks below come from someone with online keys and the store. Hosts believed all of it; then the fleet's people
// make a next root with other keys, and reconcile.

func TestStolenOnlineKeysThatPublishedUnderAHugeVersionAreRecoveredFromByANextRoot(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.host(st, dir, start).mustGet(t, "web01", "a")
	const huge = 500_000_000_000 - 1
	if _, err := f.recover(st, next(start.Add(time.Hour), want("web01", "evil")), Recovery{Seen: huge}); err != nil {
		t.Fatal(err)
	}
	evil := f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "evil")

	f.replace(fleet.UseTimestamp, fleet.UseSnapshot, fleet.UseTargets)
	n := next(start.Add(2*time.Hour), want("web01", "a"))
	n.Policy.Revoked = []schema.Digest{evil.SHA256}
	sum := f.mustPublish(st, n)
	h := f.host(st, dir, n.Now)
	a := h.mustGet(t, "web01", "a")
	if root, stamp := h.c.Versions(); root != 2 || stamp != sum.Head || sum.Head < huge {
		t.Errorf("root %d, timestamp %d of %d", root, stamp, sum.Head)
	}
	for _, c := range a.Candidates() {
		if c.SHA256 == evil.SHA256 {
			t.Error("the thief's package is an older candidate")
		}
	}
	if v := h.c.Policy().Decide(a, schema.Standing{Installed: evil.SHA256, Release: evil.Release},
		n.Now); !v.Install() {
		t.Errorf("a host that runs it decides %s: %s", v.Code, v.Why)
	}
	if _, err := f.host(st, "", n.Now).get(t, "web01"); err != nil {
		t.Errorf("a host that saw nothing: %v", err)
	}
}

// The store never saw it: the thief stood between.
func TestAHostThatWasShownTheHighestTimestampThereIsComesBack(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	stamp, err := metadata.Timestamp().FromBytes(st[schema.TimestampKey(1)])
	if err != nil {
		t.Fatal(err)
	}
	stamp.Signed.Version = 1<<63 - 1
	forged, err := keys.SignRole(f.keys, stamp,
		&metadata.Role{KeyIDs: []string{stamp.Signatures[0].KeyID}, Threshold: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := f.host(st, dir, start)
	if err := h.c.Refresh(t.Context(), h.src, forged); err != nil {
		t.Fatal(err)
	}
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "b")))
	var rollback *trust.RollbackError
	if _, err := f.host(st, dir, start.Add(time.Hour)).get(t, "web01"); !errors.As(err, &rollback) {
		t.Fatalf("before the key is replaced: %v", err)
	}
	f.replace(fleet.UseTimestamp)
	f.mustPublish(st, next(start.Add(2*time.Hour), want("web01", "b")))
	f.host(st, dir, start.Add(2*time.Hour)).mustGet(t, "web01", "b")
}

func TestATimestampAtTheEndOfTheStoresNumbersHasToBeRemovedAndIsNamed(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	stamp, err := metadata.Timestamp().FromBytes(st[schema.TimestampKey(1)])
	if err != nil {
		t.Fatal(err)
	}
	stamp.Signed.Version = schema.MaxTimestampVersion
	last := schema.TimestampKey(schema.MaxTimestampVersion)
	if st[last], err = keys.SignRole(f.keys, stamp,
		&metadata.Role{KeyIDs: []string{stamp.Signatures[0].KeyID}, Threshold: 1}); err != nil {
		t.Fatal(err)
	}
	f.host(st, dir, start).mustGet(t, "web01", "a")
	f.replace(fleet.UseTimestamp)
	n := next(start.Add(time.Hour), want("web01", "b"))
	if _, err := f.publish(st, n); err == nil || !strings.Contains(fault.HintOf(err), last) {
		t.Fatalf("got %v (%s)", err, fault.HintOf(err))
	}
	delete(st, last)
	f.mustPublish(st, n)
	f.host(st, dir, n.Now).mustGet(t, "web01", "b")
}

// thief signs what they like with the keys of targets and snapshot, below a timestamp of an ordinary number.
func (f *testFleet) thief(st memStore, bend func(targets *metadata.Metadata[metadata.TargetsType],
	snapshot *metadata.Metadata[metadata.SnapshotType])) {
	f.t.Helper()
	must := func(b []byte, err error) []byte {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
		return b
	}
	root, err := trust.ParseRoot(f.Roots[0])
	if err != nil {
		f.t.Fatal(err)
	}
	targets, err1 := metadata.Targets().FromBytes(st[schema.MetadataKey("targets", 1)])
	snapshot, err2 := metadata.Snapshot().FromBytes(st[schema.MetadataKey("snapshot", 1)])
	stamp, err3 := metadata.Timestamp().FromBytes(st[schema.TimestampKey(1)])
	if err := errors.Join(err1, err2, err3); err != nil {
		f.t.Fatal(err)
	}
	bend(targets, snapshot)
	snapshot.Signed.Meta["targets.json"].Version = targets.Signed.Version
	st[schema.MetadataKey("targets", targets.Signed.Version)] = must(keys.SignRole(f.keys, targets,
		root.Signed.Roles["targets"]))
	b := must(keys.SignRole(f.keys, snapshot, root.Signed.Roles["snapshot"]))
	st[schema.MetadataKey("snapshot", snapshot.Signed.Version)] = b
	stamp.Signed.Version = 2
	stamp.Signed.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Signed.Version)
	st[schema.TimestampKey(2)] = must(keys.SignRole(f.keys, stamp, root.Signed.Roles["timestamp"]))
}

func TestVersionsAtTheEndOfAllNumbersAreRecoveredFrom(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.thief(st, func(targets *metadata.Metadata[metadata.TargetsType],
		snapshot *metadata.Metadata[metadata.SnapshotType]) {
		targets.Signed.Version, snapshot.Signed.Version = 1<<63-1, 1<<63-1
	})
	f.host(st, dir, start).mustGet(t, "web01", "a")
	if _, err := f.publish(st, next(start, want("web01", "b"))); !fault.IsRefusal(err) ||
		!strings.Contains(fault.HintOf(err), "next root") {
		t.Fatalf("before the keys are replaced: %v", err)
	}
	f.replace(fleet.UseTimestamp, fleet.UseSnapshot, fleet.UseTargets)
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "b")))
	f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "b")
	if sum := f.mustPublish(st, next(start.Add(2*time.Hour), want("web01", "c"))); sum.Head != 4 {
		t.Errorf("head %d", sum.Head)
	}
	f.host(st, dir, start.Add(2*time.Hour)).mustGet(t, "web01", "c")
}

// A policy that was issued in the year 9999 makes everything look expired, to hosts and to reconcile.
func TestAPolicyOfTheFarFutureIsRecoveredFrom(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.thief(st, func(targets *metadata.Metadata[metadata.TargetsType],
		snapshot *metadata.Metadata[metadata.SnapshotType]) {
		targets.Signed.Version, snapshot.Signed.Version = 2, 2
		old := schema.Digest(targets.Signed.Targets[schema.PolicyTarget].Hashes["sha256"])
		b := bytes.Replace(st[schema.TargetKey(old)], []byte(`"issued":"2026`), []byte(`"issued":"9999`), 1)
		d := schema.DigestOf(b)
		st[schema.TargetKey(d)] = b
		targets.Signed.Targets[schema.PolicyTarget] = &metadata.TargetFiles{Length: int64(len(b)),
			Hashes: metadata.Hashes{"sha256": d[:]}}
	})
	var expired *trust.ExpiredError
	if _, err := f.host(st, dir, start).get(t, "web01"); err != nil && !errors.As(err, &expired) {
		t.Fatal(err)
	}
	f.replace(fleet.UseTimestamp, fleet.UseSnapshot, fleet.UseTargets)
	n := next(start.Add(time.Hour), want("web01", "b"))
	if _, err := f.publish(st, n); !errors.As(err, &expired) || !strings.Contains(fault.HintOf(err), "--after-expiry") {
		t.Fatalf("got %v", err)
	}
	if _, err := f.recover(st, n, Recovery{Expired: true}); err != nil {
		t.Fatal(err)
	}
	f.host(st, dir, n.Now).mustGet(t, "web01", "b")
	n.Now = n.Now.Add(time.Hour)
	if sum := f.mustPublish(st, n); sum.Published {
		t.Errorf("not settled: %+v", sum)
	}
}

// A stolen root key, of two that have to sign, is worth nothing by itself, and the next root drops it.
func TestAStolenRootKeyOfTwoMakesNoRoot(t *testing.T) {
	f, st := newFleet(t), memStore{}
	dir := t.TempDir()
	f.addKey("second", fleet.UseRoot)
	f.Thresholds = map[string]int{fleet.UseRoot: 2}
	f.keys = f.ring()
	f.remakeRoot()
	f.mustPublish(st, next(start, want("web01", "a")))
	f.host(st, dir, start).mustGet(t, "web01", "a")

	thief := *f.Fleet
	thief.Thresholds = nil
	evil, err := roots.New(&thief, 2, testBins, start)
	if err != nil {
		t.Fatal(err)
	}
	b, err := keys.SignRole(f.keys, evil, evil.Signed.Roles[metadata.ROOT])
	if err != nil {
		t.Fatal(err)
	}
	forged := maps.Clone(st)
	forged[schema.MetadataKey("root", 2)] = b
	if _, err := f.host(forged, dir, start).get(t, "web01"); !fault.IsRefusal(err) {
		t.Errorf("a host took a root that one of two signed: %v", err)
	}
	if _, err := f.publish(forged, next(start, want("web01", "b"))); err == nil {
		t.Error("reconcile built on it")
	}

	f.rotateKey("root", "third")
	f.mustPublish(st, next(start.Add(time.Hour), want("web01", "b")))
	f.host(st, dir, start.Add(time.Hour)).mustGet(t, "web01", "b")
}

// rotateKey replaces one key by another of the same uses, in a next root.
func (f *testFleet) rotateKey(old, anew string) {
	f.t.Helper()
	f.addKey(anew, f.Keys[old].Uses...)
	delete(f.Keys, old)
	f.keys = f.ring()
	f.nextRoot()
}
