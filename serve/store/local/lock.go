package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/lease"
)

// Lock implements store.Store.
func (l *Local) Lock(ctx context.Context, purpose string) (store.Lock, error) {
	if err := l.mkdir(filepath.Clean(l.dir)); err != nil {
		return nil, hinted(fmt.Errorf("store: lock: %w", err), l.dir)
	}
	path := filepath.Join(l.dir, lockName)
	release, err := l.flock(path, exclusive)
	if errors.Is(err, errLocked) {
		return nil, fault.Hint(fmt.Errorf("another reconcile is running on store %s, or a gc", l.dir),
			"wait for it to end%s", holderText(l.holder(path)))
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("store: lock: %w", err), l.dir)
	}
	if err := l.unleased(ctx); err != nil {
		return nil, errors.Join(err, release())
	}
	// For the hint only: the lock is the flock, so this text may be stale or missing.
	name, _ := os.Hostname()
	if f, err := l.open(path, os.O_WRONLY); err == nil {
		if f.Truncate(0) == nil {
			_, _ = fmt.Fprintf(f, "process %d on %s for %s", os.Getpid(), name, purpose)
		}
		_ = f.Close()
	}
	return fileLock{release}, nil
}

// fileLock ends with the process.
type fileLock struct{ release func() error }

func (fileLock) Held(ctx context.Context) (time.Duration, error) { return store.Forever, ctx.Err() }
func (f fileLock) Release() error                                { return f.release() }

// unleased refuses a store whose lock somebody has who came through a server.
func (l *Local) unleased(ctx context.Context) error {
	root, err := l.root()
	if err != nil {
		return err
	}
	if _, err := root.Lstat(filepath.Clean(schema.LockDir)); errors.Is(err, os.ErrNotExist) {
		return nil // asking for the time writes a file
	}
	st, err := lease.Current(ctx, l)
	if err != nil {
		return err
	}
	if st.Live {
		return st.HeldError(l.dir)
	}
	return nil
}

// leaseWait is how long a lease waits for somebody who has the flock, which may only be about to look for leases.
const leaseWait = 2 * time.Second

// unlessLocked does something; if that is to create a lease, then under the flock.
func (l *Local) unlessLocked(ctx context.Context, key string, do func() error) error {
	if !strings.HasPrefix(key, schema.LockDir) {
		return do()
	}
	if err := l.mkdir(filepath.Clean(l.dir)); err != nil {
		return err
	}
	path := filepath.Join(l.dir, lockName)
	for until := time.Now().Add(leaseWait); ; {
		release, err := l.flock(path, exclusive)
		if err == nil {
			return errors.Join(do(), release())
		}
		if !errors.Is(err, errLocked) {
			return err
		}
		if time.Now().After(until) {
			return fault.Hint(fmt.Errorf("another reconcile is running on store %s, or a gc", l.dir),
				"wait for it to end%s", holderText(l.holder(path)))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// holder reads who says to have the lock.
func (l *Local) holder(path string) []byte {
	f, err := l.open(path, os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 301))
	return b
}

func holderText(b []byte) string {
	if len(b) == 0 || len(b) > 300 {
		return ""
	}
	return fmt.Sprintf(" (the lock was taken by %q)", b)
}
