//go:build darwin || freebsd || linux

package ready

import (
	"fmt"
	"os"
	"syscall"
)

// mounted is what a folder is on.
type mounted struct {
	device           uint64
	free, inodes     int64 // bytes for whoever asks; inodes is -1 if they are not counted
	readOnly, noexec bool
}

func fileSystem(dir string) (*mounted, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil, fmt.Errorf("file system of %s: %w", dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	m := &mounted{free: int64(st.Bavail) * int64(st.Bsize), inodes: int64(st.Ffree),
		readOnly: uint64(st.Flags)&flagReadOnly != 0, noexec: uint64(st.Flags)&flagNoexec != 0}
	if st.Files == 0 { // Btrfs
		m.inodes = -1
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); ok {
		m.device = uint64(sys.Dev)
	}
	return m, nil
}
