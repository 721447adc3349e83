package source

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/filemode"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/reconcile/source/pattern"
	"bakehouse/reconcile/source/status"
)

// Worktree is the fleet's files as they lie on disk, for commands that look at or write what is not committed yet.
// Symbolic links are refused as in a Revision, and .git is not seen.
func Worktree(dir string) (fs.FS, error) {
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
	w.filters.folder = "."
	if top, gitDir, err := gitdir.Locate(abs); err == nil && top != "" {
		w.placed(top, gitDir)
	}
	return w, nil
}

type worktree struct {
	dir        string
	submodules map[string]bool // by path

	mu      sync.Mutex
	filters filters
}

// placed finds out what the repository around the directory says of it. A repository that cannot be read says nothing:
// the files are there without it.
func (w *worktree) placed(top, gitDir string) {
	folder, err := filepath.Rel(top, w.dir)
	if err != nil {
		return
	}
	w.filters.folder = filepath.ToSlash(folder)
	if w.filters.folder != "." {
		at := ""
		for part := range strings.SplitSeq(w.filters.folder, "/") {
			data, _ := os.ReadFile(filepath.Join(top, at, attributesFile))
			w.filters.above = append(w.filters.above, pattern.ParseAttributes(data, at, false)...)
			at = path.Join(at, part)
		}
	}
	names, _ := status.Submodules(gitDir)
	for _, name := range names {
		if w.filters.folder == "." {
			w.submodules[name] = true
		} else if below, ok := strings.CutPrefix(name, w.filters.folder+"/"); ok {
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
			return failed(errNotPlain)
		}
		at = path.Join(at, part)
		st, err := os.Lstat(filepath.Join(w.dir, filepath.FromSlash(at)))
		if err != nil {
			return failed(errors.Unwrap(err))
		}
		if found = st; st.IsDir() && at != "." && w.isSubmodule(at) {
			found = info{name: st.Name(), mode: mode(filemode.Submodule), time: st.ModTime()}
		}
	}
	return found, nil
}

func (w *worktree) Open(name string) (fs.File, error) {
	st, err := w.look("open", name)
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: name, Err: errNotPlain}
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

// filter refuses what would be refused once it is committed.
func (w *worktree) filter(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.filters.check(name, func(name string) ([]byte, error) {
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
			list[i] = fs.FileInfoToDirEntry(info{name: e.Name(), mode: mode(filemode.Submodule)})
		}
	}
	return list, err
}
