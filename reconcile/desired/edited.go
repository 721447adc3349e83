package desired

import (
	"bytes"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// edited is a file system with one file replaced or added.
type edited struct {
	fs.FS
	path string
	text []byte
}

func (e edited) Open(name string) (fs.File, error) {
	if name != e.path {
		return e.FS.Open(name)
	}
	return &editedFile{bytes.NewReader(e.text), e.info()}, nil
}

// info is that of the file replaced, but for its size; of a file added, that of any file.
func (e edited) info() editedInfo {
	old, _ := fs.Stat(e.FS, e.path)
	return editedInfo{old, path.Base(e.path), int64(len(e.text))}
}

// ReadDir also lists the file, and the directories that it is in, where they are not there yet.
func (e edited) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(e.FS, name)
	below, ok := strings.CutPrefix(e.path, name+"/")
	if name == "." {
		below, ok = e.path, true
	}
	if !ok {
		return entries, err
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	child, _, isDir := strings.Cut(below, "/")
	i, there := slices.BinarySearchFunc(entries, child, func(e fs.DirEntry, n string) int {
		return strings.Compare(e.Name(), n)
	})
	switch {
	case there:
	case isDir:
		entries = slices.Insert(entries, i, fs.FileInfoToDirEntry(addedDir(child)))
	default:
		entries = slices.Insert(entries, i, fs.FileInfoToDirEntry(e.info()))
	}
	return entries, nil
}

type editedFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *editedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *editedFile) Close() error               { return nil }

type editedInfo struct {
	old  fs.FileInfo // nil: there was no such file
	name string
	size int64
}

func (i editedInfo) Name() string { return i.name }
func (i editedInfo) Size() int64  { return i.size }
func (i editedInfo) IsDir() bool  { return false }
func (i editedInfo) Sys() any     { return nil }
func (i editedInfo) Mode() fs.FileMode {
	if i.old != nil {
		return i.old.Mode()
	}
	return 0o644
}
func (i editedInfo) ModTime() (t time.Time) {
	if i.old != nil {
		t = i.old.ModTime()
	}
	return t
}

// addedDir is a directory that is there for the added file only.
type addedDir string

func (d addedDir) Name() string              { return string(d) }
func (d addedDir) Size() int64               { return 0 }
func (d addedDir) Mode() fs.FileMode         { return fs.ModeDir | 0o755 }
func (d addedDir) ModTime() (none time.Time) { return none }
func (d addedDir) IsDir() bool               { return true }
func (d addedDir) Sys() any                  { return nil }
