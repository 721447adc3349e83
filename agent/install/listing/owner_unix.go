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
