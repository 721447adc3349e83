package desired

import (
	"bytes"
	"errors"
	"io/fs"
)

// edited is a file system with one file replaced.
type edited struct {
	fs.FS
	path string
	text []byte
}

func (e edited) Open(name string) (fs.File, error) {
	if name != e.path {
		return e.FS.Open(name)
	}
	f, err := e.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	return &editedFile{bytes.NewReader(e.text), editedInfo{info, int64(len(e.text))}}, nil
}

func (e edited) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(e.FS, name) }

type editedFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *editedFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *editedFile) Close() error               { return nil }

type editedInfo struct {
	fs.FileInfo
	size int64
}

func (i editedInfo) Size() int64 { return i.size }
