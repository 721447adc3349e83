//go:build unix

package owned

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"bakehouse/schema/fault"
)

// Check refuses a directory that somebody else than root, or than the user that runs this, owns or can write to. An
// absent one is fs.ErrNotExist.
func Check(dir string) error {
	link, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for _, i := range []fs.FileInfo{link, fi} {
		if st, ok := i.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() && st.Uid != 0 {
			return fault.Refuse(fmt.Errorf("the state directory %s belongs to user %d", dir, st.Uid),
				"remove it, or change its owner to the user that runs bakehouse-agent, and register again")
		}
	}
	if !fi.IsDir() {
		return fmt.Errorf("the state directory %s is not a directory", dir)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fault.Refuse(fmt.Errorf("the state directory %s is writable by others (mode %o)", dir, fi.Mode().Perm()),
			"check what is in it, then run chmod 0700 %s", dir)
	}
	return nil
}
