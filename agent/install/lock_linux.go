package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"bakehouse/schema/fault"
)

// lockDpkg takes the lock that apt and other front ends of dpkg take, waiting at most for wait. Closing it releases it.
func (s *System) lockDpkg(ctx context.Context, wait time.Duration) (io.Closer, error) {
	name := s.Path(dpkgDir + "/lock-frontend")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("dpkg's lock: %w", err)
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		// A POSIX record lock, not flock: that is what dpkg and apt look at.
		err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, syscall.EACCES) && !errors.Is(err, syscall.EAGAIN) {
			f.Close()
			return nil, fmt.Errorf("dpkg's lock %s: %w", name, err)
		}
		select {
		case <-again.C:
		case <-end.C:
			f.Close()
			return nil, fault.Hint(fmt.Errorf("dpkg is locked by another program, after waiting for %s%s", wait, holder(name)),
				"wait until that program ends; the next update tries again")
		case <-ctx.Done():
			f.Close()
			return nil, ctx.Err()
		}
	}
}

// holder names the process that holds the lock, if the kernel tells.
func holder(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	l := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	if syscall.FcntlFlock(f.Fd(), syscall.F_GETLK, &l) != nil || l.Type == syscall.F_UNLCK || l.Pid <= 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", l.Pid)
}
