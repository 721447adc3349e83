package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/reconcile/source/pattern"
	"bakehouse/reconcile/source/worktree"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// treeFS is a git tree as fs.FS.
type treeFS struct {
	mu      sync.Mutex
	store   storer.EncodedObjectStorer
	dirs    map[string]*object.Tree
	time    time.Time
	filters pattern.Filters
	absent  func(kind string, hash plumbing.Hash, name string) error // of an object that is not there
	lacks   error                                                    // the first of these
}

var (
	_ fs.ReadDirFS  = (*treeFS)(nil)
	_ fs.ReadFileFS = (*treeFS)(nil)
	_ fs.StatFS     = (*treeFS)(nil)
)

func newTreeFS(store storer.EncodedObjectStorer, root *object.Tree, t time.Time) *treeFS {
	return &treeFS{store: store, dirs: map[string]*object.Tree{".": root}, time: t}
}

// errNotPlain is what a symbolic link or a submodule is refused with.
var errNotPlain = worktree.ErrNotPlain

// missing is err, or if an object is not there what says so; f.mu is held.
func (f *treeFS) missing(err error, kind string, hash plumbing.Hash, name string) error {
	if f.absent == nil || !errors.Is(err, plumbing.ErrObjectNotFound) {
		return err
	}
	err = f.absent(kind, hash, name)
	if f.lacks == nil {
		f.lacks = err
	}
	return err
}

// tree returns the tree of a directory; f.mu is held.
func (f *treeFS) tree(name string) (*object.Tree, error) {
	if t, ok := f.dirs[name]; ok {
		return t, nil
	}
	parent, err := f.tree(path.Dir(name))
	if err != nil {
		return nil, err
	}
	e, err := find(parent, path.Base(name))
	if err != nil {
		return nil, err
	}
	if e.Mode != filemode.Dir {
		return nil, fs.ErrNotExist
	}
	t, err := readTree(f.store, e.Hash)
	if err != nil {
		return nil, f.missing(err, "tree", e.Hash, name)
	}
	f.dirs[name] = t
	return t, nil
}

// filter returns why what is committed of a regular file is not the file that its author sees; f.mu is held.
func (f *treeFS) filter(name string) error {
	return f.filters.Check(name, func(name string) ([]byte, error) {
		dir, err := f.tree(path.Dir(name))
		if err != nil {
			return nil, err
		}
		e, err := find(dir, path.Base(name))
		if err != nil || !e.Mode.IsRegular() {
			return nil, err
		}
		_, b, err := readObject(f.store, plumbing.BlobObject, e.Hash)
		return b, f.missing(err, "blob", e.Hash, name)
	})
}

// readObject reads an object and checks that its bytes have its hash, which go-git does not: a file that somebody put
// into .git could pass for what was committed, and signed. Git itself looks when it fetches.
func readObject(
	store storer.EncodedObjectStorer, kind plumbing.ObjectType, hash plumbing.Hash,
) (plumbing.EncodedObject, []byte, error) {
	o, err := store.EncodedObject(kind, hash)
	if err != nil {
		return nil, nil, fmt.Errorf("git %s %s: %w", kind, hash, err)
	}
	b, err := content(o)
	if err != nil {
		return nil, nil, fmt.Errorf("git %s %s: %w", kind, hash, err)
	}
	if kind == plumbing.AnyObject {
		kind = o.Type()
	}
	actual := o.Hash()
	if _, ok := o.(*plumbing.MemoryObject); !ok {
		actual = plumbing.ComputeHash(kind, b) // others are told their hash; this one has computed it
	}
	if actual != hash {
		return nil, nil, otherBytes(kind, hash)
	}
	return o, b, nil
}

func content(o plumbing.EncodedObject) ([]byte, error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, o.Size())
	_, err = io.ReadFull(r, b)
	return b, err
}

func readTree(store storer.EncodedObjectStorer, hash plumbing.Hash) (*object.Tree, error) {
	o, _, err := readObject(store, plumbing.TreeObject, hash)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeTree(store, o)
	if err != nil {
		return nil, fmt.Errorf("git tree %s: %w", hash, err)
	}
	return t, nil
}

func find(t *object.Tree, name string) (*object.TreeEntry, error) {
	i := slices.IndexFunc(t.Entries, func(e object.TreeEntry) bool { return e.Name == name })
	if i < 0 {
		return nil, fs.ErrNotExist
	}
	return &t.Entries[i], nil
}

// info is the fs.FileInfo of one entry.
type info struct {
	name string
	mode fs.FileMode
	size int64
	time time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.time }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

// entry is a fs.DirEntry. It looks for the size only if asked: of a packed object that takes longer than to read it.
type entry struct {
	i    info
	fs   *treeFS
	path string
}

func (e entry) Name() string               { return e.i.name }
func (e entry) IsDir() bool                { return e.i.IsDir() }
func (e entry) Type() fs.FileMode          { return e.i.mode.Type() }
func (e entry) Info() (fs.FileInfo, error) { return e.fs.Stat(e.path) }

func mode(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Executable:
		return 0o755
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	}
	return 0o644
}

// lookup returns the entry at name, its size left out; the root has a zero hash. f.mu is held.
func (f *treeFS) lookup(op, name string) (info, plumbing.Hash, error) {
	if !fs.ValidPath(name) {
		return info{}, plumbing.ZeroHash, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	if name == "." {
		return info{name: ".", mode: fs.ModeDir | 0o755, time: f.time}, plumbing.ZeroHash, nil
	}
	dir, err := f.tree(path.Dir(name))
	if err != nil {
		return info{}, plumbing.ZeroHash, &fs.PathError{Op: op, Path: name, Err: err}
	}
	e, err := find(dir, path.Base(name))
	if err != nil {
		return info{}, plumbing.ZeroHash, &fs.PathError{Op: op, Path: name, Err: err}
	}
	i := info{name: e.Name, mode: mode(e.Mode), time: f.time}
	return i, e.Hash, nil
}

// size returns the size of a file; f.mu is held.
func (f *treeFS) size(hash plumbing.Hash, name string) (int64, error) {
	n, err := f.store.EncodedObjectSize(hash)
	return n, f.missing(err, "blob", hash, name)
}

// Stat describes name without following anything.
func (f *treeFS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, hash, err := f.lookup("stat", name)
	if err != nil {
		return nil, err
	}
	if i.mode.IsRegular() {
		if i.size, err = f.size(hash, name); err != nil {
			return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	return i, nil
}

// ReadDir lists a directory in byte order of name.
func (f *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrInvalid}
	}
	t, err := f.tree(name)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, 0, len(t.Entries))
	for _, e := range t.Entries {
		i := info{name: e.Name, mode: mode(e.Mode), time: f.time}
		list = append(list, entry{i, f, path.Join(name, e.Name)})
	}
	// Git sorts a directory as if its name ended in a slash.
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// ReadFile reads a whole blob.
func (f *treeFS) ReadFile(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, hash, err := f.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if !i.mode.IsRegular() {
		why := errNotPlain
		if i.IsDir() {
			why = errors.New("is a directory")
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: why}
	}
	err = f.filter(name)
	var b []byte
	if err == nil {
		_, b, err = readObject(f.store, plumbing.BlobObject, hash)
		err = f.missing(err, "blob", hash, name)
	}
	if err == nil {
		err = pattern.Encrypted(b)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return b, nil
}

// ReadLink is where a symbolic link leads, as it is committed.
func (f *treeFS) ReadLink(name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, hash, err := f.lookup("readlink", name)
	if err == nil && i.mode&fs.ModeSymlink == 0 {
		err = &fs.PathError{Op: "readlink", Path: name, Err: errors.New("not a link")}
	}
	if err != nil {
		return "", err
	}
	_, b, err := readObject(f.store, plumbing.BlobObject, hash)
	return string(b), f.missing(err, "blob", hash, name)
}

// HashOf is the name of a blob, which is a hash of its bytes.
func (f *treeFS) HashOf(name string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, hash, err := f.lookup("hash", name)
	if err == nil && !i.mode.IsRegular() {
		err = &fs.PathError{Op: "hash", Path: name, Err: errNotPlain}
	}
	if err == nil {
		err = f.filter(name)
	}
	return hash.String(), err
}

// Open opens a blob, held in memory unless it is large, or a directory.
func (f *treeFS) Open(name string) (fs.File, error) {
	f.mu.Lock()
	i, hash, err := f.lookup("open", name)
	if err == nil && i.mode.IsRegular() {
		if err = f.filter(name); err == nil {
			i.size, err = f.size(hash, name)
		}
		if err == nil && i.size > maxHeld {
			defer f.mu.Unlock()
			return f.large(hash, i), nil
		}
		if err != nil {
			err = &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		list, err := f.ReadDir(name)
		if err != nil {
			return nil, err
		}
		return &dirFile{info: i, list: list}, nil
	}
	b, err := f.ReadFile(name)
	if err != nil {
		return nil, err
	}
	i.size = int64(len(b))
	return &blobFile{Reader: bytes.NewReader(b), info: i}, nil
}

type blobFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (b *blobFile) Stat() (fs.FileInfo, error) { return b.info, nil }
func (b *blobFile) Close() error               { return nil }

type dirFile struct {
	info fs.FileInfo
	list []fs.DirEntry
}

func (d *dirFile) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *dirFile) Close() error               { return nil }
func (d *dirFile) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.Name(), Err: errors.New("is a directory")}
}

func (d *dirFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		l := d.list
		d.list = nil
		return l, nil
	}
	if len(d.list) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.list))
	l := d.list[:n]
	d.list = d.list[n:]
	return l, nil
}
