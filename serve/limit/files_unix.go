//go:build unix

package limit

import "syscall"

// maxFiles is how many files this process may have open, 0 if that is not known.
func maxFiles() uint64 {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return 0
	}
	return uint64(r.Cur)
}
