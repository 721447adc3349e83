// Package lease is the lock of a store whose back end has none that ends with a process.
//
// Leases are the objects locks/N.json; the greatest counts. A lease is taken, renewed and given up by creating the next
// number, which of many contenders one achieves. It holds for Term by the clock that dates the store's objects, so that
// the clocks of those who contend do not matter, and that of a dead holder ends. A holder that stood still for longer
// finds a number above its own, and has lost the lock.
//
// Who has the greatest number may delete those below it. One that a straggler creates down there, where numbers were
// deleted, gains it nothing: it looks afterwards whether its number is the greatest.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/store"
)

// Term is how long a lease holds unless it is renewed, which happens each quarter of it. What is done under the lock
// has to end a quarter before it may end.
const Term = 2 * time.Minute

const (
	renewal   = Term / 4
	margin    = Term / 4
	maxRecord = 4096             // bytes
	patience  = 20 * time.Second // for one renewal
)

// record is the content of a lease.
type record struct {
	Holder   string `json:"holder"` // for people
	Purpose  string `json:"purpose"`
	ID       string `json:"id"`
	Released bool   `json:"released,omitempty"`
}

// State is the greatest lease of a store; N is 0 if there is none.
type State struct {
	record
	N    int64
	At   time.Time // when it was taken or renewed
	Live bool
}

// Current reads the greatest lease.
func Current(ctx context.Context, s store.Store) (State, error) {
	for {
		var last store.Entry
		for e, err := range s.List(ctx, schema.LockDir, "") {
			if err != nil {
				return State{}, err
			}
			if _, ok := schema.ParseLockKey(e.Key); ok {
				last = e
			}
		}
		if last.Key == "" {
			return State{}, nil
		}
		st := State{At: last.Time}
		st.N, _ = schema.ParseLockKey(last.Key)
		b, err := store.Read(ctx, s, last.Key, maxRecord)
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since: there is a greater one
		}
		if err != nil {
			return State{}, err
		}
		if err := json.Unmarshal(b, &st.record); err != nil {
			st.Holder = "somebody who wrote something else"
		}
		now, err := s.Now(ctx)
		if err != nil {
			return State{}, err
		}
		st.Live = !st.Released && now.Sub(st.At).Abs() < Term // a date far ahead is of a clock that was set back
		return st, nil
	}
}

// HeldError is a lock that another has. What is the store, for people.
func (s State) HeldError(what string) error {
	return fault.Hint(fmt.Errorf("another reconcile is running on store %s, or a gc", what),
		"wait for it to end (the lock was taken for %q by %q at %s; if that is dead, the lock ends %s after its "+
			"last sign of life)",
		plain.Line(s.Purpose, 40), plain.Line(s.Holder, 200), s.At.UTC().Format(time.RFC3339), Term)
}

// Lease implements store.Lock.
type Lease struct {
	store store.Store
	what  string

	mu   sync.Mutex
	mine record
	n    int64 // greatest number of mine
	at   time.Time
	lost error

	stop func()
	done chan struct{}
}

// Take takes the lock for a purpose, or fails with a HeldError. What is the store, for people.
func Take(ctx context.Context, s store.Store, what, purpose string) (*Lease, error) {
	host, _ := os.Hostname()
	l := &Lease{store: s, what: what, done: make(chan struct{}),
		mine: record{Holder: fmt.Sprintf("process %d on %s", os.Getpid(), host), Purpose: purpose, ID: rand.Text()}}
	for {
		st, err := Current(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("store: lock: %w", err)
		}
		if st.Live {
			return nil, st.HeldError(what)
		}
		err = l.create(ctx, st.N+1)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, errLost) {
			continue // another was quicker
		}
		if err != nil {
			return nil, fmt.Errorf("store: lock: %w", err)
		}
		break
	}
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.renew(renewing)
	return l, nil
}

var errLost = errors.New("another took the lock meanwhile")

// create makes the lease of that number and looks whether it is the greatest then; errLost if it is not.
func (l *Lease) create(ctx context.Context, n int64) error {
	b, err := json.Marshal(l.mine)
	if err != nil {
		return err
	}
	if err := store.CreateBytes(ctx, l.store, schema.LockKey(n), b); err != nil {
		return err
	}
	at, err := l.greatest(ctx, n)
	if err != nil {
		return err
	}
	l.n, l.at = n, at
	l.tidy(ctx)
	return nil
}

// greatest holds that no number is above n, and returns when that was created.
func (l *Lease) greatest(ctx context.Context, n int64) (at time.Time, err error) {
	key := schema.LockKey(n)
	found := false
	for e, err := range l.store.List(ctx, schema.LockDir, schema.LockKey(n-1)) {
		if err != nil {
			return at, err
		}
		if e.Key == key {
			at, found = e.Time, true
		} else if _, ok := schema.ParseLockKey(e.Key); ok {
			return at, errLost
		}
	}
	if !found {
		return at, errLost
	}
	return at, nil
}

// tidy deletes the numbers below mine; who may not delete leaves them to gc.
func (l *Lease) tidy(ctx context.Context) {
	var old []string
	for e, err := range l.store.List(ctx, schema.LockDir, "") {
		if n, ok := schema.ParseLockKey(e.Key); err != nil || ok && n >= l.n {
			break
		} else if ok {
			old = append(old, e.Key)
		}
	}
	if len(old) > 0 {
		_ = l.store.DeleteBatch(ctx, old)
	}
}

// renew keeps the lease alive. A failure is for the next to repeat, or for whoever asks whether it is held.
func (l *Lease) renew(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(renewal)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			one, cancel := context.WithTimeout(ctx, patience)
			_ = l.Renew(one)
			cancel()
		}
	}
}

// Renew starts the term again. It is done in the background too.
func (l *Lease) Renew(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.held(ctx); err != nil {
		return err
	}
	return l.next(ctx)
}

// next creates my next lease. The lock is lost only when another is seen to have it, or time is up.
func (l *Lease) next(ctx context.Context) error {
	err := l.create(ctx, l.n+1)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, errLost) {
		l.lost = l.lostError(errLost)
		return l.lost
	}
	return err
}

func (l *Lease) lostError(err error) error {
	return fault.Hint(fmt.Errorf("the lock of store %s is lost: %w", l.what, err),
		"run it again; nothing was published or deleted since")
}

// Held implements store.Lock.
func (l *Lease) Held(ctx context.Context) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left, err := l.held(ctx)
	if err == nil && left < Term/2 {
		if err = l.next(ctx); err == nil {
			left, err = l.held(ctx)
		}
	}
	return left, err
}

func (l *Lease) held(ctx context.Context) (time.Duration, error) {
	if l.lost != nil {
		return 0, l.lost
	}
	_, err := l.greatest(ctx, l.n)
	if errors.Is(err, errLost) {
		err = l.adopt(ctx)
	}
	if err != nil {
		return 0, err
	}
	now, err := l.store.Now(ctx)
	if err != nil {
		return 0, err
	}
	left := Term - margin - now.Sub(l.at).Abs()
	if left <= 0 {
		l.lost = l.lostError(errors.New("this process stood still, or the store did, for longer than the lock holds"))
		return 0, l.lost
	}
	return left, nil
}

// adopt takes the greatest number for mine if I made it, in a call that failed in the end.
func (l *Lease) adopt(ctx context.Context) error {
	st, err := Current(ctx, l.store)
	if err != nil {
		return err
	}
	if st.ID != l.mine.ID || st.Released {
		l.lost = l.lostError(errLost)
		return l.lost
	}
	l.n, l.at = st.N, st.At
	return nil
}

// Release implements store.Lock. Another may take the lock at once.
func (l *Lease) Release() error {
	l.stop()
	<-l.done
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // also of one who was interrupted
	defer cancel()
	l.mine.Released = true
	err := l.create(ctx, l.n+1)
	if errors.Is(err, fs.ErrExist) || errors.Is(err, errLost) {
		return nil // it is another's already
	}
	return err
}
