//go:build !windows

package hostpath

import "path/filepath"

// On is where p, an absolute path as packages have them, is: below root, if that is not empty.
func On(root, p string) string { return filepath.Join("/", root, p) }
