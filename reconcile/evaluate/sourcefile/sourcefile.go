// Package sourcefile reads what the config repo holds of a package's bytes: regular files, never through a link, and
// files inside archives there. An archive is listed once, however many of its files are asked for.
package sourcefile

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"bakehouse/reconcile/evaluate/archive"
	"bakehouse/schema"
)

// Repo reads files of a config repo. It is safe for concurrent use if its file system is.
type Repo struct {
	fsys   fs.FS
	mu     sync.Mutex
	tables map[string]*table
}

// table is what an archive holds.
type table struct {
	mu   sync.Mutex
	done bool
	*archive.Table
	err error
}

// New reads the repo whose top is fsys.
func New(fsys fs.FS) *Repo { return &Repo{fsys: fsys, tables: map[string]*table{}} }

// Open opens a regular file, and follows no link on the way to it.
func (r *Repo) Open(name string) (fs.File, error) { return Open(r.fsys, name) }

// Sum is the digest and the size of a file.
func (r *Repo) Sum(name string) (sum schema.Digest, size int64, err error) {
	f, err := r.Open(name)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	read := &counted{r: f}
	sum, pointer, err := Digest(read)
	if pointer {
		err = ErrPointer
	}
	return sum, read.n, Plain(err)
}

// Member finds a file inside an archive. It fails with an *archive.MissingError if the archive has no such file.
func (r *Repo) Member(ctx context.Context, name, member string) (*archive.Member, error) {
	t, err := r.list(ctx, name)
	if err != nil {
		return nil, err
	}
	return t.Find(member)
}

// CopyMember writes a file that is inside an archive.
func (r *Repo) CopyMember(ctx context.Context, w io.Writer, name, member string) error {
	t, err := r.list(ctx, name)
	if err != nil {
		return err
	}
	m, err := t.Find(member)
	if err != nil {
		return err
	}
	from, size, done, err := r.openArchive(name)
	if err != nil {
		return err
	}
	defer done()
	return t.Copy(ctx, w, from, size, m)
}

// list lists an archive, once unless ctx ends.
func (r *Repo) list(ctx context.Context, name string) (*archive.Table, error) {
	r.mu.Lock()
	t := r.tables[name]
	if t == nil {
		t = &table{}
		r.tables[name] = t
	}
	r.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.done {
		t.Table, t.err = r.read(ctx, name)
		t.done = ctx.Err() == nil
	}
	return t.Table, t.err
}

func (r *Repo) read(ctx context.Context, name string) (*archive.Table, error) {
	from, size, done, err := r.openArchive(name)
	if err != nil {
		return nil, err
	}
	defer done()
	head := make([]byte, len(pointerPrefix))
	if n, err := from.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, Plain(err)
	} else if IsPointer(head[:n]) {
		return nil, ErrPointer
	}
	t, err := archive.Read(ctx, from, size)
	return t, Plain(err)
}

func (r *Repo) openArchive(name string) (from io.ReaderAt, size int64, done func() error, err error) {
	f, err := r.Open(name)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	from, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		err = errors.New("cannot be read but from its start")
	}
	if err != nil {
		f.Close()
		return nil, 0, nil, Plain(err)
	}
	return from, info.Size(), f.Close, nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// Digest digests a file, and reports whether it is no file but what Git LFS puts in the place of one.
func Digest(r io.Reader) (sum schema.Digest, pointer bool, err error) {
	head := make([]byte, len(pointerPrefix))
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return sum, false, err
	}
	if IsPointer(head[:n]) {
		return sum, true, nil
	}
	h := sha256.New()
	h.Write(head[:n])
	if _, err := io.Copy(h, r); err != nil {
		return sum, false, err
	}
	return schema.Digest(h.Sum(nil)), false, nil
}

// Open opens a regular file of the repo whose top is fsys, and follows no link on the way to it.
func Open(fsys fs.FS, name string) (fs.File, error) {
	if !fs.ValidPath(name) || name == "." {
		return nil, fmt.Errorf("%.200q is not a path in the repo", name)
	}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		at = path.Join(at, part)
		info, err := fs.Lstat(fsys, at)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, fmt.Errorf("there is no file %s in the repo", name)
		case err != nil:
			return nil, fmt.Errorf("%s: %w", name, Plain(err))
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, fmt.Errorf("%s is a symbolic link, which is not followed: commit the file itself", at)
		case info.Mode()&fs.ModeIrregular != 0:
			return nil, fmt.Errorf("%s is a submodule, which is not read: commit the file itself", at)
		case at != name && !info.IsDir():
			return nil, fmt.Errorf("there is no file %s in the repo: %s is not a folder", name, at)
		case at == name && !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", name)
		}
	}
	return fsys.Open(name)
}

const pointerPrefix = "version https://git-lfs.github.com/spec/"

// ErrPointer is returned for what Git LFS puts in the place of a file.
var ErrPointer = errors.New("a Git LFS pointer, not the file itself")

// IsPointer reports whether data is what Git LFS puts in the place of a file.
func IsPointer(data []byte) bool { return bytes.HasPrefix(data, []byte(pointerPrefix)) }

// Plain drops the path from err, for callers that say it themselves.
func Plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
