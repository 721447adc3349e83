package install

import (
	"fmt"

	"bakehouse/schema/fault"
)

// reserve is left free on a disk that we write to.
const reserve = 16 << 20

// CheckSpace returns an error unless dir's file system has room for n bytes.
func CheckSpace(dir string, n int64) error {
	m, err := fileSystem(existing(dir))
	if err != nil || m == nil || m.free >= n+reserve {
		return err
	}
	return fault.Hint(fmt.Errorf("not enough disk space: %s has %d MB free and %d MB are needed", dir, m.free>>20,
		(n+reserve)>>20+1), "free some space; nothing was fetched or changed")
}
