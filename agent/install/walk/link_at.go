//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package walk

import (
	"os"

	"golang.org/x/sys/unix"
)

// link does not follow old, should it be a link.
func link(a *os.Root, old string, b *os.Root, name string) error {
	from, err := a.Open(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := b.Open(".")
	if err != nil {
		return err
	}
	defer to.Close()
	if err := unix.Linkat(int(from.Fd()), old, int(to.Fd()), name, 0); err != nil {
		return &os.LinkError{Op: "link", Old: old, New: name, Err: err}
	}
	return nil
}
