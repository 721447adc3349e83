// Package local is a store in a directory.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// Local implements store.Store. An object is the file at its key, mode 0600 because packages can hold secrets. It is
// written and fsynced as a file in .tmp, hard-linked to its name (which exactly one of many contenders achieves; rename
// would replace, and O_EXCL would show a half-written file) and the directory fsynced. So a name that is there stands
// for whole bytes on disk, whatever crashed.
//
// Whoever may write to the directory is not thereby trusted with what this user can read and write elsewhere: all below
// it is reached through os.Root, which no link leads out of, and an object or a lock is a regular file at its name.
//
//	.lock        held by flock during a reconcile or a gc; its text says by whom. Whoever comes through a server
//	             takes a lease instead, which is an object: it is created under the flock, and who has the flock
//	             looks for one
//	.tmp/        files being written; nothing reads them
//	.tmp/lock    flock: shared by whoever writes, exclusive for whoever clears .tmp, so no live writer is hurt
type Local struct {
	dir  string
	disk durable.Disk

	mu   sync.Mutex
	made map[string]bool // directories that are known to be durable

	opening sync.Mutex
	opened  *os.Root // of dir, once it exists
	is      fs.FileInfo
}

const (
	lockName = ".lock"
	tempDir  = ".tmp"
	filePerm = 0o600
	dirPerm  = 0o700
)

// Open opens the store in dir. One that does not exist is an empty store; the first Create or Lock makes it.
func Open(dir string) (*Local, error) { return OpenOn(dir, durable.Disk{}) }

// OpenOn is Open with a disk that a test has a hand in.
func OpenOn(dir string, disk durable.Disk) (*Local, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
		return nil, fault.Hint(fmt.Errorf("store: %s is not a directory", dir),
			"name the store's directory with --store")
	case err != nil:
		return nil, hinted(fmt.Errorf("store: %w", err), dir)
	}
	l := &Local{dir: dir, disk: disk, made: map[string]bool{}}
	l.disk.In = l.in
	l.clearTemp()
	return l, nil
}

// root is the directory, which may have been replaced by another since it was opened, as by a restore or a mount. It is
// fs.ErrNotExist if there is none.
func (l *Local) root() (*os.Root, error) {
	l.opening.Lock()
	defer l.opening.Unlock()
	is, err := os.Stat(l.dir)
	if err != nil {
		return nil, err
	}
	if l.opened != nil && os.SameFile(is, l.is) {
		return l.opened, nil
	}
	opened, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, err
	}
	if l.is, err = opened.Stat("."); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	l.opened = opened // an earlier one is closed with its last user, by the collector
	return l.opened, nil
}

// in is how the disk reaches a path: through the root what is below the directory, else as it is.
func (l *Local) in(path string) (durable.Files, string, error) {
	name, err := filepath.Rel(l.dir, path)
	if err != nil || !filepath.IsLocal(name) || name == "." {
		return durable.Machine, path, nil
	}
	root, err := l.root()
	return root, name, err
}

// open opens a file of the store, which must be a regular one and no link.
func (l *Local) open(path string, flag int) (*os.File, error) {
	root, name, err := l.in(path)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(name, flag|syscall.O_NONBLOCK, filePerm) // a pipe must not hang us
	if err != nil {
		if info, lerr := root.Lstat(name); lerr == nil && !info.Mode().IsRegular() {
			err = errNotRegular
		}
		return nil, err
	}
	is, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = root.Lstat(name); err == nil && (!there.Mode().IsRegular() || !os.SameFile(is, there)) {
			err = errNotRegular
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

func (l *Local) path(key string) (string, error) {
	if err := schema.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, filepath.FromSlash(key)), nil
}

// Open implements store.Store. What it returns is an *os.File.
func (l *Local) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	f, err := l.openObject(ctx, key)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// OpenRange implements store.Store.
func (l *Local) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	f, err := l.openObject(ctx, key)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, offset, length), f}, nil
}

// Stat implements store.Store.
func (l *Local) Stat(ctx context.Context, key string) (store.Entry, error) {
	f, err := l.openObject(ctx, key)
	if err != nil {
		return store.Entry{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return store.Entry{}, fmt.Errorf("store: stat %s: %w", key, reason(err))
	}
	return store.Entry{Key: key, Size: info.Size(), Time: info.ModTime()}, nil
}

func (l *Local) openObject(ctx context.Context, key string) (*os.File, error) {
	path, err := l.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := l.open(path, os.O_RDONLY)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", key, reason(err))
	}
	return f, nil
}

// Create implements store.Store.
func (l *Local) Create(ctx context.Context, key string, r io.Reader) error {
	path, err := l.path(key)
	if err != nil {
		return err
	}
	err = l.unlessLocked(ctx, key, func() error { return l.create(ctx, path, r) })
	if err == nil {
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("store: create %s: %w", key, fs.ErrExist)
	}
	return hinted(fmt.Errorf("store: create %s: %w", key, reason(err)), l.dir)
}

func (l *Local) create(ctx context.Context, path string, r io.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.mkdir(filepath.Dir(path)); err != nil {
		return err
	}
	temp := filepath.Join(l.dir, tempDir)
	if err := l.mkdir(temp); err != nil {
		return err
	}
	unlock, err := l.flock(filepath.Join(temp, "lock"), shared)
	if err != nil {
		return err
	}
	defer unlock()
	return l.disk.CreateVia(temp, path, contextReader{ctx, r}, filePerm)
}

// mkdir makes dir, at or below the store's own directory, and makes it durable once per process even if it was there:
// another process may have died between creating and syncing it.
func (l *Local) mkdir(dir string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mkdirLocked(dir)
}

func (l *Local) mkdirLocked(dir string) error {
	if l.made[dir] {
		return nil
	}
	if dir == filepath.Clean(l.dir) {
		if err := l.disk.MkdirAll(dir, dirPerm); err != nil {
			return err
		}
		// Where the operator made the directory, its parent may be closed to us, and is durable long since.
		if err := l.disk.SyncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	} else {
		if err := l.mkdirLocked(filepath.Dir(dir)); err != nil {
			return err
		}
		if err := l.disk.Mkdir(dir, dirPerm); err != nil {
			return err
		}
	}
	l.made[dir] = true
	return nil
}

// DeleteBatch implements store.Store. One sync for a directory and not for each of its files makes it quick. The
// emptied directory stays: removing it would race with a writer.
func (l *Local) DeleteBatch(ctx context.Context, keys []string) error {
	dirs := map[string]bool{}
	var failed error
	for _, key := range keys {
		path, err := l.path(key)
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			dirs[filepath.Dir(path)] = true
			err = l.disk.Unlink(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = hinted(fmt.Errorf("store: delete %s: %w", key, reason(err)), l.dir)
			break
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		if err := l.disk.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = errors.Join(failed, hinted(fmt.Errorf("store: delete: %w", reason(err)), l.dir))
		}
	}
	return failed
}

// Now is the time by the clock that dates the store's files, which on a network file system is another machine's: that
// of a write to a file of the store's own.
func (l *Local) Now(context.Context) (now time.Time, err error) {
	temp := filepath.Join(l.dir, tempDir)
	if err := l.mkdir(temp); err != nil {
		return now, err
	}
	f, err := l.open(filepath.Join(temp, "lock"), os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return now, err
	}
	_, err = f.WriteAt([]byte{'\n'}, 0)
	info, err2 := f.Stat()
	if err := errors.Join(err, err2, f.Close()); err != nil {
		return now, err
	}
	return info.ModTime(), nil
}

// List implements store.Store. Files whose name is no key are passed over; fsck mentions them.
func (l *Local) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		_, err := l.walk(ctx, "", listing{prefix, after}, yield)
		if err != nil {
			yield(store.Entry{}, hinted(fmt.Errorf("store: list %s: %w", prefix, reason(err)), l.dir))
		}
	}
}

// listing is what a List is asked for.
type listing struct{ prefix, after string }

// has reports whether the object of that key is asked for, or one below it if it ends in a slash.
func (w listing) has(key string) bool {
	if strings.HasSuffix(key, "/") {
		return (strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key)) &&
			(key > w.after || strings.HasPrefix(w.after, key))
	}
	return strings.HasPrefix(key, w.prefix) && key > w.after
}

// walk yields the objects in the directory of key sub ("" or ending in a slash); more is false once yield was.
func (l *Local) walk(ctx context.Context, sub string, of listing, yield func(store.Entry, error) bool) (more bool,
	err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	root, err := l.root()
	var entries []fs.DirEntry
	if err == nil {
		entries, err = readDir(root, path.Clean(sub))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	keys := make([]string, 0, len(entries))
	for _, e := range entries {
		key := sub + e.Name()
		switch {
		case e.IsDir():
			// With its slash a directory sorts where its keys do: "a-b", "a.b", then "a/b".
			if key += "/"; of.has(key) {
				keys = append(keys, key)
			}
		case e.Type().IsRegular() && of.has(key) && schema.CheckKey(key) == nil:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if strings.HasSuffix(key, "/") {
			if schema.CheckKey(key+"x") != nil {
				continue // .tmp, or nothing of ours
			}
			if more, err := l.walk(ctx, key, of, yield); !more || err != nil {
				return false, err
			}
			continue
		}
		info, err := root.Lstat(filepath.FromSlash(key))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return false, err
		}
		if !yield(store.Entry{Key: key, Size: info.Size(), Time: info.ModTime()}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// readDir lists a directory in the order of the disk.
func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

// clearTemp removes what dead writers left, unless a live one is at work; then it is for the next to do. A store that
// cannot be written is left as it is.
func (l *Local) clearTemp() {
	temp := filepath.Join(l.dir, tempDir)
	lock := filepath.Join(temp, "lock")
	if f, err := l.open(lock, os.O_RDONLY); err != nil || f.Close() != nil {
		return
	}
	unlock, err := l.flock(lock, exclusive)
	if err != nil {
		return
	}
	defer unlock()
	_ = l.disk.Sweep(temp)
}

// reason takes the path off an error: the key has been named already.
func reason(err error) error {
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		return fmt.Errorf("%s: %w", pe.Op, pe.Err)
	}
	if le := (*os.LinkError)(nil); errors.As(err, &le) {
		return fmt.Errorf("%s: %w", le.Op, le.Err)
	}
	return err
}

// hinted adds what to do about the errors that an operator can mend.
func hinted(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.Hint(err, "the file system of store %s is full: free some space or enlarge it, then run again; "+
			"nothing is damaged", dir)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return fault.Hint(err, "store %s cannot be accessed as needed: check its owner, permissions and whether it is "+
			"mounted read-only", dir)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fault.Hint(err, "store %s cannot be made there: name another directory with --store", dir)
	}
	return err
}

// contextReader stops a long Create when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// Strays implements store.Store: slash-separated paths in the directory.
func (l *Local) Strays(context.Context) (paths []string, err error) {
	root, err := l.root()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("store: %w", err), l.dir)
	}
	err = fs.WalkDir(root.FS(), ".", func(rel string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return hinted(fmt.Errorf("store: %w", err), l.dir)
		}
		switch {
		case e.IsDir() && (rel == "." || rel == tempDir || schema.CheckKey(rel+"/x") == nil):
		case rel == lockName || rel == tempDir+"/lock":
		case e.Type().IsRegular() && schema.CheckKey(rel) == nil:
		case e.IsDir():
			paths = append(paths, rel+"/")
			return fs.SkipDir
		default:
			paths = append(paths, rel)
		}
		return nil
	})
	return paths, err
}
