//go:build unix

package durable_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema/durable"
)

func TestPermissionsAreAsAskedForWhateverTheUmask(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	dir := t.TempDir()
	if err := durable.WriteFile(filepath.Join(dir, "w"), nil, 0o664); err != nil {
		t.Fatal(err)
	}
	if err := durable.Create(filepath.Join(dir, "c"), strings.NewReader(""), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"w": 0o664, "c": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, want)
		}
	}
}
