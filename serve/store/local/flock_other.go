//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package local

import "errors"

const (
	shared    = 0
	exclusive = 1
)

var errLocked = errors.New("locked")

// flock has no equivalent here that dies with the process. Writers need none; the exclusive lock and clearing
// temporary files are refused.
func (l *Local) flock(path string, how int) (unlock func() error, err error) {
	if how == exclusive {
		return nil, errors.New("this system has no file locks that end with the process")
	}
	return func() error { return nil }, nil
}
