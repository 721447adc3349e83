// Package worktree is a fleet's files as they are on disk, refused where they would be refused once they are committed.
package worktree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/reconcile/source/pattern"
	"bakehouse/reconcile/source/status"
)

// ErrNotPlain is what a symbolic link or a submodule is refused with.
var ErrNotPlain = errors.New("symbolic links and submodules are not read: commit the file itself")

// Open is the files of a directory, for commands that look at or write what is not committed yet.
// Symbolic links are refused as in a Revision, and .git is not seen.
func Open(dir string) (fs.FS, error) {
	st, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: errors.New("not a directory")}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	w := &worktree{dir: abs, submodules: map[string]bool{}}
	w.filters.Folder = "."
	if top, gitDir, err := gitdir.Locate(abs); err == nil && top != "" {
		w.placed(top, gitDir)
	}
	return w, nil
}

type worktree struct {
	dir        string
	submodules map[string]bool // by path

	mu      sync.Mutex
	filters pattern.Filters
}

// placed finds out what the repository around the directory says of it. A repository that cannot be read says nothing:
// the files are there without it.
func (w *worktree) placed(top, gitDir string) {
	folder, err := filepath.Rel(top, w.dir)
	if err != nil {
		return
	}
	w.filters.Folder = filepath.ToSlash(folder)
	if w.filters.Folder != "." {
		at := ""
		for part := range strings.SplitSeq(w.filters.Folder, "/") {
			data, _ := os.ReadFile(filepath.Join(top, at, pattern.AttributesFile))
			w.filters.Above = append(w.filters.Above, pattern.ParseAttributes(data, at, false)...)
			at = path.Join(at, part)
		}
	}
	names, _ := status.Submodules(gitDir)
	for _, name := range names {
		if w.filters.Folder == "." {
			w.submodules[name] = true
		} else if below, ok := strings.CutPrefix(name, w.filters.Folder+"/"); ok {
			w.submodules[below] = true
		}
	}
}

// isSubmodule reports whether a directory is another repository, registered as a submodule or not: `git add` would make
// it one.
func (w *worktree) isSubmodule(name string) bool {
	_, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(name), ".git"))
	return err == nil || w.submodules[name]
}

// look describes name without following anything: no directory on the way is a link or another repository.
func (w *worktree) look(op, name string) (fs.FileInfo, error) {
	failed := func(err error) (fs.FileInfo, error) { return nil, &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return failed(fs.ErrInvalid)
	}
	if name == ".git" || strings.HasPrefix(name, ".git/") {
		return failed(fs.ErrNotExist)
	}
	var found fs.FileInfo
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case found == nil || found.IsDir():
		case found.Mode().IsRegular():
			return failed(fs.ErrNotExist)
		default:
			return failed(ErrNotPlain)
		}
		at = path.Join(at, part)
		st, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(at)))
		if err != nil {
			return failed(errors.Unwrap(err))
		}
		if found = st; st.IsDir() && at != "." && w.isSubmodule(at) {
			found = submodule{st}
		}
	}
	return found, nil
}

func (w *worktree) Open(name string) (fs.File, error) {
	st, err := w.look("open", name)
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrNotPlain}
	}
	if err == nil && !st.IsDir() {
		if why := w.filter(name); why != nil {
			err = &fs.PathError{Op: "open", Path: name, Err: why}
		}
	}
	if err != nil {
		return nil, err
	}
	return os.DirFS(w.dir).Open(name)
}

// Stat describes name without following anything.
func (w *worktree) Stat(name string) (fs.FileInfo, error) { return w.look("stat", name) }

// ReadLink is where a symbolic link leads.
func (w *worktree) ReadLink(name string) (string, error) {
	st, err := w.look("readlink", name)
	if err == nil && st.Mode()&fs.ModeSymlink == 0 {
		err = &fs.PathError{Op: "readlink", Path: name, Err: errors.New("not a link")}
	}
	if err != nil {
		return "", err
	}
	to, err := os.Readlink(filepath.Join(w.dir, filepath.FromSlash(name)))
	return filepath.ToSlash(to), err
}

// filter refuses what would be refused once it is committed.
func (w *worktree) filter(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.filters.Check(name, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(w.dir, filepath.FromSlash(name)))
	})
}

// ReadDir hides .git, so that a walk does not run into it.
func (w *worktree) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := w.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := f.(fs.ReadDirFile)
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	list, err := d.ReadDir(-1)
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	if name == "." {
		list = slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Name() == ".git" })
	}
	for i, e := range list {
		if at := path.Join(name, e.Name()); e.IsDir() && w.isSubmodule(at) {
			list[i] = entry{e}
		}
	}
	return list, err
}

// submodule is a directory that is another repository: no file, and nothing in it is read.
type submodule struct{ fs.FileInfo }

func (submodule) Mode() fs.FileMode { return fs.ModeIrregular }
func (submodule) IsDir() bool       { return false }

// entry is that in a list.
type entry struct{ fs.DirEntry }

func (entry) Type() fs.FileMode { return fs.ModeIrregular }
func (entry) IsDir() bool       { return false }

func (e entry) Info() (fs.FileInfo, error) {
	st, err := e.DirEntry.Info()
	return submodule{st}, err
}
