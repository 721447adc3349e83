//go:build !linux

package versions

import (
	"errors"

	"bakehouse/schema/durable"
	"path/filepath"
)

// SyncedWith reports whether Unpack makes all durable that was written before to the file system of dir.
func (s *Dir) SyncedWith(string) bool { return false }

// sync makes durable what was unpacked.
func (x *extraction) sync(dir string) error {
	for name := range x.files {
		f, err := x.dir.Open(name)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	for name := range x.dirs {
		if err := durable.SyncDir(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	return durable.SyncDir(filepath.Dir(dir))
}
