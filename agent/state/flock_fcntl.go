//go:build aix || solaris

package state

import (
	"io"
	"os"
	"syscall"
)

// lockFile takes the exclusive lock on f without waiting, or fails with ErrBusy. These systems have POSIX record locks
// only: they keep other processes out, but not a second lock of this one, which never asks for two.
func lockFile(f *os.File) (unlock func(), err error) {
	set := func(how int16) error {
		return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: how, Whence: io.SeekStart})
	}
	err = set(syscall.F_WRLCK)
	if err == syscall.EACCES || err == syscall.EAGAIN {
		err = ErrBusy
	}
	return func() { _ = set(syscall.F_UNLCK) }, err
}
