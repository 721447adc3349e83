//go:build unix

package state

import (
	"io/fs"
	"syscall"
)

func owner(fi fs.FileInfo) (uid int, ok bool) {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

func canCheckDir() error { return nil }
