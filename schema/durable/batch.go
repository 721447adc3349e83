package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Batch replaces and removes several files with few syncs. Nothing is seen of it before Commit; after a crash during
// that, each file is the old one or the new one, and the first are new before the later ones are.
type Batch struct {
	Disk
	staged []staged
}

// staged is a file that has been written beside its place, or, without temp, one that is to go.
type staged struct{ temp, path string }

// Write has the file at path replaced by Commit; see WriteFile.
func (b *Batch) Write(path string, data []byte, perm fs.FileMode) error {
	temp, err := b.writeTemp(filepath.Dir(path), bytes.NewReader(data), perm, false)
	if err != nil {
		return err
	}
	b.staged = append(b.staged, staged{temp, path})
	return nil
}

// Remove has the file at path removed by Commit, if it is there then.
func (b *Batch) Remove(path string) { b.staged = append(b.staged, staged{path: path}) }

// Commit puts everything in place. Synced says that the file systems were synced since the last Write (syncfs).
func (b *Batch) Commit(synced bool) error {
	defer b.Discard()
	for _, s := range b.staged {
		if synced || s.temp == "" {
			continue
		}
		if err := b.syncFile(s.temp); err != nil {
			return err
		}
	}
	var dirs []string
	for len(b.staged) > 0 {
		s := b.staged[0]
		if err := b.put(s); err != nil {
			return err
		}
		b.staged = b.staged[1:]
		if dir := filepath.Dir(s.path); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	for _, dir := range dirs {
		if err := b.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (b *Batch) put(s staged) error {
	if s.temp == "" {
		if err := b.Unlink(s.path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	return b.around(Call{Name: "rename", Path: s.path, From: s.temp}, func() error {
		return b.onTwo(s.temp, s.path, Files.Rename)
	})
}

func (b *Batch) syncFile(path string) error {
	return b.call("fsync", path, func() error {
		return b.on(path, func(files Files, name string) error {
			f, err := files.OpenFile(name, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return errors.Join(f.Sync(), f.Close())
		})
	})
}

// Discard forgets what was not committed.
func (b *Batch) Discard() {
	for _, s := range b.staged {
		if s.temp != "" {
			b.discard(s.temp)
		}
	}
	b.staged = nil
}

// WriteLoose replaces the file at path whole, as everybody sees it, without having it survive the machine's death:
// after that it may be old, new or damaged. It is for what is found damaged and can be made again.
func WriteLoose(path string, data []byte, perm fs.FileMode) error {
	var b Batch
	defer b.Discard()
	if err := b.Write(path, data, perm); err != nil {
		return err
	}
	err := b.put(b.staged[0])
	if err == nil {
		b.staged = nil
	}
	return err
}
