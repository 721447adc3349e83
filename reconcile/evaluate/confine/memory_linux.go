package confine

import (
	"fmt"
	"os"
	"syscall"
)

// limitMemory bounds the address space to what the process has now, the heap twice over, and some for all else. A limit
// of what is resident would not do: Linux has none, and one large allocation is to fail at once.
func limitMemory(heap uint64) error {
	var pages uint64
	b, err := os.ReadFile("/proc/self/statm")
	if err == nil {
		_, err = fmt.Sscan(string(b), &pages)
	}
	if err != nil {
		return nil // without /proc the engine's own watch is what there is
	}
	most := pages*uint64(os.Getpagesize()) + 2*heap + 256<<20
	return syscall.Setrlimit(syscall.RLIMIT_AS, &syscall.Rlimit{Cur: most, Max: most})
}
