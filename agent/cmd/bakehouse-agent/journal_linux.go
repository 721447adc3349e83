package main

import (
	"fmt"
	"os"
	"syscall"
)

// isJournal reports whether a file is what systemd named in JOURNAL_STREAM: its stream to the journal.
func isJournal(f *os.File) bool {
	var device, inode uint64
	if _, err := fmt.Sscanf(os.Getenv("JOURNAL_STREAM"), "%d:%d", &device, &inode); err != nil {
		return false
	}
	var st syscall.Stat_t
	return syscall.Fstat(int(f.Fd()), &st) == nil && uint64(st.Dev) == device && st.Ino == inode
}
