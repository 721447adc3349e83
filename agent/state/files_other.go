//go:build !unix

package state

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// canCheckDir refuses everything that reads or writes the state directory, so everything but the help and the version:
// who may write to that directory decides what is run as root, and permission bits do not show it here.
func canCheckDir() error {
	return fmt.Errorf("this program does not run on %s yet: it cannot check who may write to its state directory",
		runtime.GOOS)
}

func owner(fs.FileInfo) (uid int, ok bool) { return 0, false }

func lockFile(*os.File) (unlock func(), err error) { return func() {}, canCheckDir() }
