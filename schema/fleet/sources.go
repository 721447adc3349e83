package fleet

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"bakehouse/schema"
)

// sources digests the files of the repo that plugins ship, each once.
type sources struct {
	fsys fs.FS
	mu   sync.Mutex
	seen map[string]sourceFile
}

type sourceFile struct {
	sum  schema.Digest
	size int64
	err  error
}

func newSources(fsys fs.FS) *sources { return &sources{fsys: fsys, seen: map[string]sourceFile{}} }

func (s *sources) digest(name string) (schema.Digest, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, ok := s.seen[name]
	if !ok {
		f.sum, f.size, f.err = digestSource(s.fsys, name)
		s.seen[name] = f
	}
	return f.sum, f.size, f.err
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
