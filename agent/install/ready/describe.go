package ready

import (
	"fmt"
	"os"
	"path/filepath"
)

// Describe says in one line what a directory is on, or the one above it that is there.
func Describe(dir string) string {
	at := dir
	for at != filepath.Dir(at) {
		if _, err := os.Stat(at); err == nil {
			break
		}
		at = filepath.Dir(at)
	}
	m, err := fileSystem(at)
	switch {
	case err != nil:
		return err.Error()
	case m == nil:
		return dir + ": not known on this system"
	}
	text := fmt.Sprintf("%s: %d bytes free", dir, m.free)
	if m.inodes >= 0 {
		text += fmt.Sprintf(", %d inodes", m.inodes)
	}
	if m.readOnly {
		text += ", read-only"
	}
	if m.noexec {
		text += ", noexec"
	}
	if at != dir {
		text += ", not there: this is of " + at
	}
	return text
}
