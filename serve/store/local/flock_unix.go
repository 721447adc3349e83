//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package local

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

const (
	shared    = syscall.LOCK_SH                   // waits
	exclusive = syscall.LOCK_EX | syscall.LOCK_NB // errLocked at once
)

var errLocked = errors.New("locked")

// flock locks the file at path, creating it if need be. The kernel drops the lock when the process dies, and it holds
// between two opens in one process too.
func (l *Local) flock(path string, how int) (unlock func() error, err error) {
	// Read access is enough to lock, and all that a reader of somebody else's store may have.
	f, err := l.open(path, os.O_RDONLY)
	if errors.Is(err, os.ErrNotExist) {
		f, err = l.open(path, os.O_RDWR|os.O_CREATE)
	}
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, errLocked
		}
		return nil, fmt.Errorf("flock %s: %w", path, err)
	}
	return func() error {
		// Closing is not enough: a child that was forked meanwhile, and has not reached its exec, holds the file open
		// too.
		return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
	}, nil
}
