//go:build unix

package install

import (
	"io/fs"
	"syscall"
)

// number is that of a file's inode, which another file in its place does not have.
func number(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Ino)
	}
	return 0
}
