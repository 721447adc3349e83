package state

import (
	"errors"
	"os"

	win "golang.org/x/sys/windows"
)

// lockFile takes the exclusive lock on f without waiting, or fails with ErrBusy.
func lockFile(f *os.File) (unlock func(), err error) {
	h := win.Handle(f.Fd())
	err = win.LockFileEx(h, win.LOCKFILE_EXCLUSIVE_LOCK|win.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
		&win.Overlapped{})
	if errors.Is(err, win.ERROR_LOCK_VIOLATION) || errors.Is(err, win.ERROR_IO_PENDING) {
		err = ErrBusy
	}
	return func() { _ = win.UnlockFileEx(h, 0, 1, 0, &win.Overlapped{}) }, err
}
