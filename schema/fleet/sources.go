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

// sources digests the files of the repo that plugins ship, and members of archives there, each once. It lists each of the
// archives once, and none that the cache tells enough of.
type sources struct {
	fsys   fs.FS
	cache  *Cache
	mu     sync.Mutex
	seen   map[sourceName]sourceFile
	tables map[string]sourceTable
}

// sourceName is a file of the repo, or a member of it.
type sourceName struct{ file, member string }

type sourceFile struct {
	sum  schema.Digest
	size int64
	from *member
	err  error
}

type sourceTable struct {
	table *archive.Table
	err   error
}

func newSources(fsys fs.FS) *sources {
	return &sources{fsys: fsys, seen: map[sourceName]sourceFile{}, tables: map[string]sourceTable{}}
}

// fill takes size and digest of a file that is in the repo, or in an archive there.
func (s *sources) fill(ctx context.Context, f *File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := sourceName{f.Repo, f.Member}
	is, ok := s.seen[name]
	if !ok {
		is = s.find(ctx, name)
		if ctx.Err() == nil {
			s.seen[name] = is
		}
	}
	f.SHA256, f.Size, f.from = is.sum, is.size, is.from
	return is.err
}

// find asks the cache, and reads what it does not know.
func (s *sources) find(ctx context.Context, name sourceName) (is sourceFile) {
	h, ok := s.fsys.(Hasher)
	if s.cache == nil || !ok {
		return s.read(ctx, name)
	}
	hash, err := h.HashOf(name.file)
	if err != nil {
		return s.read(ctx, name) // which says why
	}
	if kept, ok := s.cache.Find("source", hash, name.member); ok {
		var sum string
		if n, _ := fmt.Sscanf(kept, "%d %s", &is.size, &sum); n == 2 {
			if is.sum, err = schema.ParseDigest(sum); err == nil {
				return is
			}
		}
	}
	if is = s.read(ctx, name); is.err == nil {
		s.cache.Keep(fmt.Appendf(nil, "%d %s", is.size, is.sum), "source", hash, name.member)
	}
	return is
}

func (s *sources) read(ctx context.Context, name sourceName) (is sourceFile) {
	if name.member == "" {
		is.sum, is.size, is.err = digestSource(s.fsys, name.file)
		return is
	}
	t, ok := s.tables[name.file]
	if !ok {
		if t.table, t.err = listSource(ctx, s.fsys, name.file); ctx.Err() == nil {
			s.tables[name.file] = t
		}
	}
	if t.err != nil {
		return sourceFile{err: t.err}
	}
	m, err := t.table.Find(name.member)
	if err != nil {
		return sourceFile{err: err}
	}
	return sourceFile{sum: m.SHA256, size: m.Size, from: &member{t.table, m}}
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
	from := f.from
	if from == nil { // its digest was known
		t, err := archive.Read(ctx, r, size)
		if err != nil {
			return plain(err)
		}
		m, err := t.Find(f.Member)
		if err != nil {
			return err
		}
		from = &member{t, m}
	}
	return from.table.Copy(ctx, w, r, size, from.Member)
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
