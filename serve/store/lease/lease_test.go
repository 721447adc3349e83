package lease_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/lease"
	"bakehouse/serve/store/storetest"
)

// clocked is a store whose clock the test moves. It may not delete, as whoever publishes through a server.
type clocked struct {
	storetest.Memory
	mu    sync.Mutex
	now   time.Time
	dates map[string]time.Time
	cut   func(key string) bool // the answer to its creation is lost, once it took effect
}

func newClocked() *clocked {
	return &clocked{Memory: storetest.Memory{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		dates: map[string]time.Time{}, cut: func(string) bool { return false }}
}

var errCut = errors.New("answer lost")

func (c *clocked) Create(ctx context.Context, key string, r io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Memory.Create(ctx, key, r); err != nil {
		return err
	}
	c.dates[key] = c.now
	if c.cut(key) {
		return errCut
	}
	return nil
}

func (c *clocked) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range c.Memory.List(ctx, prefix, after) {
			c.mu.Lock()
			e.Time = c.dates[e.Key]
			c.mu.Unlock()
			if !yield(e, err) {
				return
			}
		}
	}
}

func (c *clocked) DeleteBatch(context.Context, []string) error { return fs.ErrPermission }

func (c *clocked) Now(context.Context) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

func (c *clocked) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func take(t *testing.T, s store.Store) *lease.Lease {
	t.Helper()
	l, err := lease.Take(t.Context(), s, "s3://bucket", "gc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Release() })
	return l
}

func TestTheLeaseOfADeadHolderEnds(t *testing.T) {
	s := newClocked()
	dead := take(t, s)
	s.pass(lease.Term - time.Second)
	_, err := lease.Take(t.Context(), s, "s3://bucket", "reconcile")
	if err == nil || !strings.Contains(fault.HintOf(err), `"gc" by "process `) {
		t.Errorf("while it may live: %v, hint %q", err, fault.HintOf(err))
	}
	s.pass(time.Second)
	heir := take(t, s)
	if _, err := heir.Held(t.Context()); err != nil {
		t.Error(err)
	}
	// It was not dead, but stood still.
	if _, err := dead.Held(t.Context()); err == nil || !strings.Contains(err.Error(), "is lost") {
		t.Errorf("the one before says %v", err)
	}
	if err := dead.Release(); err != nil {
		t.Error(err)
	}
	if _, err := heir.Held(t.Context()); err != nil {
		t.Errorf("the one before gave up what it had not: %v", err)
	}
}

func TestAHolderThatStoodStillDoesNothingMoreThoughNobodyCame(t *testing.T) {
	s := newClocked()
	l := take(t, s)
	s.pass(lease.Term)
	if _, err := l.Held(t.Context()); err == nil || !strings.Contains(err.Error(), "stood still") {
		t.Error(err)
	}
}

func TestARenewedLeaseHoldsOn(t *testing.T) {
	s := newClocked()
	l := take(t, s)
	for range 10 {
		s.pass(lease.Term / 3)
		if err := l.Renew(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := lease.Take(t.Context(), s, "x", "y"); err == nil {
		t.Error("it was taken by another")
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	take(t, s)
}

func TestARenewalWhoseAnswerIsLostLosesNoLock(t *testing.T) {
	s := newClocked()
	l := take(t, s)
	s.cut = func(string) bool { return true }
	if err := l.Renew(t.Context()); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	s.cut = func(string) bool { return false }
	s.pass(lease.Term / 4)
	if _, err := l.Held(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Renew(t.Context()); err != nil {
		t.Error(err)
	}
}

// A straggler read the greatest number long ago, and what it creates is below the greatest by now.
func TestANumberThatWasDeletedGainsAStragglerNothing(t *testing.T) {
	s := newClocked()
	take(t, s)
	delete(s.Memory, schema.LockKey(1))
	if err := store.CreateBytes(t.Context(), s, schema.LockKey(7), []byte(`{"holder":"other","id":"other"}`)); err != nil {
		t.Fatal(err)
	}
	straggler := &late{clocked: s}
	_, err := lease.Take(t.Context(), straggler, "x", "y")
	if err == nil || !strings.Contains(fault.HintOf(err), `"other"`) || !straggler.asked {
		t.Error(err)
	}
}

// late sees an empty list the first time.
type late struct {
	*clocked
	asked bool
}

func (l *late) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	if l.asked {
		return l.clocked.List(ctx, prefix, after)
	}
	l.asked = true
	return func(func(store.Entry, error) bool) {}
}

func TestOfManyWhoContendOneHoldsTheLock(t *testing.T) {
	s := newClocked()
	var won sync.Map
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if l, err := lease.Take(t.Context(), s, "x", "y"); err == nil {
				won.Store(l, true)
			}
		})
	}
	group.Wait()
	n := 0
	won.Range(func(l, _ any) bool { n++; return l.(*lease.Lease).Release() == nil })
	if n != 1 {
		t.Errorf("%d hold it", n)
	}
}
