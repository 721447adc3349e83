package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/go-git/go-git/v5/plumbing"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/reconcile/source/pattern"
	"bakehouse/schema/fault"
)

// maxHeld is the size above which a blob is not held in memory, in bytes.
const maxHeld = gitdir.MaxHeld

// largeFile is a blob that is inflated while it is read. Its bytes are known to be the committed ones at the end of it,
// in the place of which comes an error if they are not. Who reads it elsewhere than from its start, as archives are
// read, reads a temporary file that nobody else can open.
type largeFile struct {
	info fs.FileInfo
	hash plumbing.Hash
	open func() (io.ReadCloser, error)

	r     io.ReadCloser // nil: at the start
	sum   plumbing.Hasher
	begun bool
	spool *os.File
}

// large opens a blob; f.mu is held.
func (f *treeFS) large(hash plumbing.Hash, i info) fs.File {
	return &largeFile{info: i, hash: hash, open: func() (io.ReadCloser, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		o, err := f.store.EncodedObject(plumbing.BlobObject, hash)
		if err != nil {
			return nil, err
		}
		return o.Reader()
	}}
}

func (l *largeFile) Stat() (fs.FileInfo, error) { return l.info, nil }

func (l *largeFile) Read(b []byte) (int, error) {
	if l.r == nil {
		var err error
		if l.r, err = l.open(); err != nil {
			return 0, l.failed(err)
		}
		l.sum = plumbing.NewHasher(plumbing.BlobObject, l.info.Size())
	}
	n, err := l.r.Read(b)
	_, _ = l.sum.Write(b[:n])
	if !l.begun {
		if l.begun = true; pattern.Encrypted(b[:n]) != nil {
			return 0, l.failed(pattern.Encrypted(b[:n]))
		}
	}
	switch {
	case err == io.EOF && l.sum.Sum() != l.hash:
		return n, otherBytes(plumbing.BlobObject, l.hash)
	case err != nil && err != io.EOF:
		err = l.failed(err)
	}
	return n, err
}

// ReadAt is for one goroutine.
func (l *largeFile) ReadAt(b []byte, at int64) (int, error) {
	if l.spool == nil {
		if err := l.write(); err != nil {
			return 0, err
		}
	}
	return l.spool.ReadAt(b, at)
}

// write makes the temporary file.
func (l *largeFile) write() error {
	spool, err := os.CreateTemp("", "bakehouse-blob-")
	if err != nil {
		return l.failed(err)
	}
	l.spool = spool
	_ = os.Remove(spool.Name()) // where a file that is open cannot be removed, Close does
	whole := &largeFile{info: l.info, hash: l.hash, open: l.open}
	_, err = io.Copy(spool, whole)
	if err = errors.Join(err, whole.Close()); err != nil {
		l.drop()
	}
	return err
}

func (l *largeFile) drop() {
	if l.spool != nil {
		l.spool.Close()
		_ = os.Remove(l.spool.Name())
		l.spool = nil
	}
}

func (l *largeFile) Close() error {
	l.drop()
	if l.r != nil {
		return l.r.Close()
	}
	return nil
}

func (l *largeFile) failed(err error) error {
	return &fs.PathError{Op: "read", Path: l.info.Name(), Err: err}
}

func otherBytes(kind plumbing.ObjectType, hash plumbing.Hash) error {
	return fault.Refuse(fmt.Errorf("git %s %s: the repository holds other bytes under this name", kind, hash),
		"run `git fsck`, and clone the repository again")
}
