//go:build unix

package listing

import (
	"fmt"
	"io/fs"
	"syscall"
)

// owner is a file's UID:GID.
func owner(fi fs.FileInfo) string {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%d:%d", st.Uid, st.Gid)
}

// number is that of a file's inode, which another file in its place does not have.
func number(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}
