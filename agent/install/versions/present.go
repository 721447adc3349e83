package versions

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"bakehouse/agent/install/walk"
)

// Files that are at least so large are linked where they have not changed. What people and scripts edit in place is
// small, and an edit would be in both versions.
const linkMin = 32 << 10

// present is the version that runs, from which another one links what is the same. A linked file has one owner, one
// mode and one content in both versions, whatever is done to it: so it is root's, nobody else can write to it, and no
// script of either version names it, or a directory that it is in.
type present struct {
	root   *os.Root // nil: there is none
	script string
	link   func(name string) error // gives a file a name in the new version
}

func (t *tree) present(to string) (p present, err error) {
	if t.current == "" {
		return p, nil
	}
	from := filepath.Join(t.base, t.current)
	if p.root, err = os.OpenRoot(from); err != nil {
		return present{}, nil // current dangles: the new version repairs it
	}
	p.link = func(name string) error {
		return t.host.Link(filepath.Join(from, filepath.FromSlash(name)), filepath.Join(to, filepath.FromSlash(name)))
	}
	p.script, err = scriptsOf(p.root)
	return p, err
}

func (p present) close() {
	if p.root != nil {
		p.root.Close()
	}
}

// scriptsOf is a version's scripts; empty if it has none.
func scriptsOf(root *os.Root) (string, error) {
	b, err := root.ReadFile(scriptsFile[1:])
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(b), err
}

// same reports whether the version that runs has just the file that r holds, and opens it. If it has another one, r
// holds all of the new one still.
func (p present) same(name string, mode fs.FileMode, size int64, r *io.Reader) (old *os.File, same bool, err error) {
	if old = p.candidate(name, mode, size); old == nil {
		return nil, false, nil
	}
	got, had := make([]byte, 64<<10), make([]byte, 64<<10)
	for at := int64(0); ; {
		n, rerr := io.ReadFull(*r, got)
		m, _ := io.ReadFull(old, had[:n])
		if m != n || !bytes.Equal(got[:n], had[:n]) {
			*r = io.MultiReader(io.NewSectionReader(old, 0, at), bytes.NewReader(got[:n]), *r)
			return old, false, nil
		}
		at += int64(n)
		switch {
		case (rerr == io.EOF || rerr == io.ErrUnexpectedEOF) && at == size:
			return old, true, nil
		case rerr != nil:
			return old, false, rerr
		}
	}
}

// candidate opens the file of that name, if it is one that may be linked.
func (p present) candidate(name string, mode fs.FileMode, size int64) *os.File {
	if p.root == nil || size < linkMin || mode&0o022 != 0 || names(p.script, name) {
		return nil
	}
	fi, err := p.root.Lstat(name)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != size || fi.Mode() != mode || !walk.Roots(fi) {
		return nil
	}
	f, err := p.root.Open(name)
	if err != nil {
		return nil
	}
	if is, err := f.Stat(); err != nil || !os.SameFile(fi, is) {
		f.Close()
		return nil
	}
	return f
}

// link gives the file old, of the version that runs, the same name in the new one: where it can, without a copy.
func (x *extraction) link(name string, mode fs.FileMode, size int64, old *os.File) error {
	err := x.present.link(name)
	if err == nil {
		was, serr := old.Stat()
		is, lerr := x.dir.Lstat(name)
		if err = errors.Join(serr, lerr); err == nil && os.SameFile(was, is) {
			x.linked = append(x.linked, name)
			return nil
		}
		err = errors.Join(err, x.dir.Remove(name))
	} else if errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, serr := old.Seek(0, io.SeekStart); serr != nil {
		return errors.Join(err, serr)
	}
	return x.write(name, mode, size, old) // such as on a file system without links
}

// part gives the new version files of its own where its scripts name what was linked.
func (x *extraction) part() error {
	if len(x.linked) == 0 {
		return nil
	}
	script, err := scriptsOf(x.dir)
	if err != nil {
		return err
	}
	for _, name := range x.linked {
		if !names(script, name) {
			continue
		}
		old, err := x.dir.Open(name)
		if err != nil {
			return err
		}
		defer old.Close()
		fi, err := old.Stat()
		if err == nil {
			err = x.dir.Remove(name)
		}
		if err == nil {
			err = x.write(name, fi.Mode(), fi.Size(), old)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// names reports whether a script has the path of a file, or of a directory above it; of those right below the root,
// such as /usr, it may speak. A path that a shell has to quote counts as named.
func names(script, file string) bool {
	if script == "" {
		return false
	}
	if strings.ContainsAny(file, "'\"\\$`*?[] ") {
		return true
	}
	for p := "/" + file; strings.Count(p, "/") > 1; p = path.Dir(p) {
		for rest := script; ; {
			at := strings.Index(rest, p)
			if at < 0 {
				break
			}
			rest = rest[at+len(p):]
			if next := strings.TrimPrefix(rest, "/"); next == "" || !inName(next[0]) {
				return true
			}
		}
	}
	return false
}

func inName(c byte) bool {
	return strings.IndexByte(".-_+@", c) >= 0 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
