//go:build unix

package terminal

import (
	"os"

	"golang.org/x/sys/unix"
)

// hide has the terminal show nothing of what is typed but take it line by line, until restore is called.
func hide(in *os.File) (restore func() error, err error) {
	fd := int(in.Fd())
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	return func() error { return unix.IoctlSetTermios(fd, setTermios, before) },
		unix.IoctlSetTermios(fd, setTermios, &hidden)
}
