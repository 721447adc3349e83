//go:build unix

package cache

import (
	"fmt"
	"os"
	"syscall"
)

// private refuses a directory that others than the user, or root, can write to.
func private(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || int(st.Uid) != os.Geteuid() && st.Uid != 0 || info.Mode()&0o022 != 0 {
		return fmt.Errorf("%s: not a directory that only this user can write to", dir)
	}
	return nil
}
