package install

import (
	"errors"
	"fmt"
	"syscall"

	"bakehouse/schema"
)

// reserve is left free on a disk that we write to.
const reserve = 16 << 20

// CheckSpace says so if dir's file system cannot take n more bytes, before anything is written.
func CheckSpace(dir string, n int64) error { return checkSpace(dir, n) }

func checkSpace(dir string, n int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fmt.Errorf("free space of %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * int64(st.Bsize); free < n+reserve {
		return schema.Hint(errors.New("not enough disk space"), "%s has %d MB free and %d MB are needed", dir, free>>20, (n+reserve)>>20+1)
	}
	return nil
}
