//go:build darwin || freebsd || linux

package install

import (
	"fmt"
	"syscall"

	"bakehouse/schema/fault"
)

func checkSpace(dir string, n int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < n+reserve {
		return fault.Hint(fmt.Errorf("not enough disk space: %s has %d MB free and %d MB are needed", dir, free>>20,
			(n+reserve)>>20+1),
			"free some space; nothing was fetched or changed")
	}
	return nil
}
