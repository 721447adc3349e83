package fleet

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

	"bakehouse/schema"
	"bakehouse/schema/fleet/archive"
)

// sources digests the files of the repo that plugins ship, each once, and lists the archives among them, each once.
type sources struct {
	fsys   fs.FS
	mu     sync.Mutex
	seen   map[string]sourceFile
	tables map[string]sourceTable
}

type sourceFile struct {
	sum  schema.Digest
	size int64
	err  error
}

type sourceTable struct {
	table *archive.Table
	err   error
}

func newSources(fsys fs.FS) *sources {
	return &sources{fsys: fsys, seen: map[string]sourceFile{}, tables: map[string]sourceTable{}}
}

// fill takes size and digest of a file that is in the repo, or in an archive there.
func (s *sources) fill(ctx context.Context, f *File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Member == "" {
		is, ok := s.seen[f.Repo]
		if !ok {
			is.sum, is.size, is.err = digestSource(s.fsys, f.Repo)
			s.seen[f.Repo] = is
		}
		f.SHA256, f.Size = is.sum, is.size
		return is.err
	}
	is, ok := s.tables[f.Repo]
	if !ok {
		if is.table, is.err = listSource(ctx, s.fsys, f.Repo); ctx.Err() == nil {
			s.tables[f.Repo] = is
		}
	}
	if is.err != nil {
		return is.err
	}
	m, err := is.table.Find(f.Member)
	if err != nil {
		return err
	}
	f.SHA256, f.Size, f.from = m.SHA256, m.Size, &member{is.table, m}
	return nil
}

// member is a file of an archive in the repo.
type member struct {
	table *archive.Table
	*archive.Member
}

// CopyMember writes a file that is a member of an archive in the repo.
func (f *File) CopyMember(ctx context.Context, w io.Writer, fsys fs.FS) error {
	r, size, done, err := openArchive(fsys, f.Repo)
	if err != nil {
		return err
	}
	defer done()
	return f.from.table.Copy(ctx, w, r, size, f.from.Member)
}

func listSource(ctx context.Context, fsys fs.FS, name string) (*archive.Table, error) {
	r, size, done, err := openArchive(fsys, name)
	if err != nil {
		return nil, err
	}
	defer done()
	head := make([]byte, len(pointerPrefix))
	if n, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, plain(err)
	} else if isPointer(head[:n]) {
		return nil, errPointer
	}
	t, err := archive.Read(ctx, r, size)
	return t, plain(err)
}

func openArchive(fsys fs.FS, name string) (r io.ReaderAt, size int64, done func() error, err error) {
	f, err := ReadSource(fsys, name)
	if err != nil {
		return nil, 0, nil, err
	}
	info, err := f.Stat()
	r, ok := f.(io.ReaderAt)
	if err == nil && !ok {
		err = errors.New("cannot be read but from its start")
	}
	if err != nil {
		f.Close()
		return nil, 0, nil, plain(err)
	}
	return r, info.Size(), f.Close, nil
}

func digestSource(fsys fs.FS, name string) (sum schema.Digest, size int64, err error) {
	f, err := ReadSource(fsys, name)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	read := &counted{r: f}
	sum, pointer, err := DigestSource(read)
	if pointer {
		err = errPointer
	}
	return sum, read.n, plain(err)
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

// DigestSource digests a file, and reports whether it is no file but what Git LFS puts in the place of one.
func DigestSource(r io.Reader) (sum schema.Digest, pointer bool, err error) {
	head := make([]byte, len(pointerPrefix))
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return sum, false, err
	}
	if isPointer(head[:n]) {
		return sum, true, nil
	}
	h := sha256.New()
	h.Write(head[:n])
	if _, err := io.Copy(h, r); err != nil {
		return sum, false, err
	}
	return schema.Digest(h.Sum(nil)), false, nil
}

// ReadSource opens a regular file of the repo, and follows no link on the way to it.
func ReadSource(fsys fs.FS, name string) (fs.File, error) {
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
			return nil, fmt.Errorf("%s: %w", name, plain(err))
		case info.Mode()&fs.ModeSymlink != 0:
			return nil, fmt.Errorf("%s is a symbolic link, which is not followed: commit the file itself", at)
		case at != name && !info.IsDir():
			return nil, fmt.Errorf("there is no file %s in the repo: %s is not a folder", name, at)
		case at == name && !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a regular file", name)
		}
	}
	return fsys.Open(name)
}

const pointerPrefix = "version https://git-lfs.github.com/spec/"

var errPointer = errors.New("a Git LFS pointer, not the file itself")

// isPointer reports whether data is what Git LFS puts in the place of a file.
func isPointer(data []byte) bool { return bytes.HasPrefix(data, []byte(pointerPrefix)) }

func pointerProblem(at Pos) Problem {
	return Problem{Pos: at, Msg: "is " + errPointer.Error(), Hint: "a package is made of what is committed: keep this file out of Git LFS"}
}
