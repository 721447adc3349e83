package needs

import (
	"os"
	"syscall"
)

// Memory has the temporary files of a test in memory, if there is a file system for that with room to spare, in which
// programs run. What is made and synced thousands of times then costs half the processor, and waits for no disk. With
// the full set of tests it is the machine's disk, as on a host.
func Memory() {
	const dir, room = "/dev/shm", 4 << 30
	if Everything() || os.Getenv("TMPDIR") != "" {
		return
	}
	const tmpfs, noExec = 0x01021994, 0x8
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil || s.Type != tmpfs || s.Flags&noExec != 0 ||
		s.Bavail*uint64(s.Bsize) < room {
		return
	}
	if probe, err := os.MkdirTemp(dir, "bakehouse-"); err == nil && os.Remove(probe) == nil {
		os.Setenv("TMPDIR", dir)
	}
}
