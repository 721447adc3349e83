package publish

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/stores"
)

// Two jobs that know nothing of each other: one publishes, the other collects all garbage that there is, again and
// again.
func TestGCBesideReconcileTakesNothingThatIsNeeded(t *testing.T) {
	t.Parallel()
	k := kitchen{sameFleet(t), t}
	dir := filepath.Join(t.TempDir(), "store")
	open := func() store.Store {
		st, err := stores.Open(t.Context(), dir)
		if err != nil {
			t.Error(err)
		}
		return st
	}
	if err := k.reconcile(open(), 1); err != nil {
		t.Fatal(err)
	}
	busy := func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "another reconcile is running")
	}
	const last = 12
	var jobs sync.WaitGroup
	done := make(chan struct{})
	jobs.Go(func() {
		defer close(done)
		for n := int64(2); n <= last; {
			err := k.reconcile(open(), n)
			if err != nil && !busy(err) {
				t.Errorf("release %d: %v", n, err)
				return
			}
			if err == nil {
				n++
			}
		}
	})
	freed, kept := 0, false
	jobs.Go(func() {
		for alone := false; !alone; { // the last time, if it never got its turn before
			select {
			case <-done:
				alone = true
			default:
			}
			r, err := maintain.GC(t.Context(), open(), maintain.GCOptions{Anchor: k.f.Roots[0], Keep: 1})
			if err != nil && !busy(err) {
				t.Errorf("gc: %v", err)
				return
			}
			if err == nil {
				for _, kind := range r.Kinds {
					freed += kind.Freed.Objects
				}
			}
			kept = kept || busy(err)
		}
	})
	jobs.Wait()
	if freed == 0 {
		t.Error("gc found nothing to delete")
	}
	t.Logf("%d objects deleted; gc had to wait: %v", freed, kept)
	sum, err := maintain.Fsck(t.Context(), open(), true, func(f maintain.Finding) {
		if !f.Note {
			t.Errorf("fsck: %s: %v", f.Key, f.Err)
		}
	})
	if err != nil || sum.Head != last {
		t.Errorf("head %d, %v", sum.Head, err)
	}
	s, err := Read(t.Context(), open(), k.f.Fleet, start.Add(last*time.Minute))
	if err != nil || len(s.Assignments()) != len(kitchenHosts) || s.Release().Schema != releaseSchema {
		t.Errorf("published: %v", err)
	}
}
