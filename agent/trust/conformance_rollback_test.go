package trust

import (
	"errors"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// rolledBack checks that err says so of the role.
func rolledBack(t *testing.T, err error, role string) {
	t.Helper()
	var e *RollbackError
	if !errors.As(err, &e) || e.Role != role {
		t.Errorf("got %v, want a rollback of %s", err, role)
	}
}

func TestRollbackOfEachRole(t *testing.T) {
	for name, hashed := range map[string]bool{"basic": false, "with hashes": true} {
		t.Run("timestamp "+name, func(t *testing.T) {
			d := newDevice(t)
			d.r.HashedSnapshot, d.r.HashedTargets = hashed, hashed
			d.r.Publish(metadata.TIMESTAMP)
			d.must(d.refresh())
			d.r.Forget(metadata.TIMESTAMP)
			d.r.Timestamp.Signed.Version = 1
			d.r.Publish(metadata.TIMESTAMP)
			rolledBack(t, d.refresh(), "timestamp")
			d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 2")
		})
		t.Run("snapshot "+name, func(t *testing.T) {
			d := newDevice(t)
			d.r.HashedSnapshot, d.r.HashedTargets = hashed, hashed
			d.r.PublishAll()
			d.must(d.refresh())
			d.r.Forget(metadata.SNAPSHOT)
			d.r.Snapshot.Signed.Version = 1
			d.r.PublishAll()
			d.r.Asked()
			rolledBack(t, d.refresh(), "snapshot")
			d.asked("2.root.json", "timestamp.json")
			d.trusts("root 1", "snapshot 2", "targets 1", "timestamp 2")
		})
		t.Run("targets "+name, func(t *testing.T) {
			d := newDevice(t)
			d.r.HashedSnapshot, d.r.HashedTargets = hashed, hashed
			d.r.PublishAll(metadata.TARGETS)
			d.must(d.refresh())
			d.r.Forget(metadata.TARGETS)
			d.r.Targets[metadata.TARGETS].Signed.Version = 1
			d.r.PublishAll(metadata.TARGETS)
			rolledBack(t, d.refresh(), "targets.json in snapshot")
			d.trusts("root 1", "snapshot 2", "targets 2", "timestamp 3")
		})
	}
}

func TestRoleThatLeavesTheSnapshot(t *testing.T) {
	d := newDevice(t)
	d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "delegated", Paths: []string{"x/*"}})
	d.r.PublishAll("delegated", metadata.TARGETS)
	d.must(d.refresh())
	delete(d.r.Snapshot.Signed.Meta, "delegated.json")
	d.r.PublishAll()
	rolledBack(t, d.refresh(), "delegated.json in snapshot")
	d.trusts("root 1", "snapshot 2", "targets 2", "timestamp 3")
}

// Whoever had an online key may have signed any version with it. A root that replaces the key brings clients back.
func TestFastForwardIsUndoneByARotation(t *testing.T) {
	t.Run("timestamp", func(t *testing.T) {
		d := newDevice(t)
		for range 99 {
			d.r.Publish(metadata.TIMESTAMP)
		}
		d.must(d.refresh())
		d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 100")
		d.r.Rotate(metadata.TIMESTAMP)
		d.r.Forget(metadata.TIMESTAMP)
		d.r.Timestamp.Signed.Version = 1
		d.r.Publish(metadata.ROOT, metadata.TIMESTAMP)
		d.must(d.refresh())
		d.trusts("root 2", "snapshot 1", "targets 1", "timestamp 1")
	})
	t.Run("snapshot", func(t *testing.T) {
		d := newDevice(t)
		for range 99 {
			d.r.Publish(metadata.SNAPSHOT)
		}
		d.r.Publish(metadata.TIMESTAMP)
		d.must(d.refresh())
		d.r.Rotate(metadata.SNAPSHOT)
		d.r.Rotate(metadata.TIMESTAMP)
		d.r.Forget(metadata.SNAPSHOT)
		d.r.Snapshot.Signed.Version = 1
		d.r.Publish(metadata.ROOT)
		d.r.PublishAll(metadata.TARGETS)
		d.must(d.refresh())
		d.trusts("root 2", "snapshot 1", "targets 2", "timestamp 3")
	})
	t.Run("targets", func(t *testing.T) {
		d := newDevice(t)
		d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "delegated", Paths: []string{"x/*"}})
		d.r.Publish("delegated")
		for range 99 {
			d.r.Publish(metadata.TARGETS)
		}
		d.r.PublishAll()
		d.must(d.refresh())
		d.trusts("root 1", "snapshot 2", "targets 100", "timestamp 2")
		d.r.Rotate(metadata.SNAPSHOT)
		d.r.Forget(metadata.TARGETS)
		d.r.Targets[metadata.TARGETS].Signed.Version = 1
		delete(d.r.Snapshot.Signed.Meta, "delegated.json")
		d.r.Publish(metadata.ROOT)
		d.r.PublishAll(metadata.TARGETS)
		d.must(d.refresh())
		d.trusts("root 2", "snapshot 3", "targets 1", "timestamp 3")
	})
}

func TestTimestampThatPromisedMoreThanCame(t *testing.T) {
	d := newDevice(t)
	d.must(d.refresh())
	d.r.Timestamp.Signed.Meta["snapshot.json"].Version = 7
	d.r.Publish(metadata.TIMESTAMP)
	d.mustFail(d.refresh(), "7.snapshot.json")
	d.r.Timestamp.Signed.Meta["snapshot.json"].Version = 1
	d.r.Publish(metadata.TIMESTAMP)
	rolledBack(t, d.refresh(), "snapshot.json in timestamp")
	d.trusts("root 1", "snapshot 1", "targets 1", "timestamp 2")
	d.r.Rotate(metadata.SNAPSHOT)
	d.r.Publish(metadata.ROOT)
	d.r.Forget(metadata.SNAPSHOT)
	d.r.Snapshot.Signed.Version = 1
	d.r.PublishAll()
	d.must(d.refresh())
}
