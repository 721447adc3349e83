//go:build !windows

package install

import "os"

// openStaged opens the file of a package.
func openStaged(name string) (*os.File, error) { return os.Open(name) }
