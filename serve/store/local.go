package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Local is a store in a directory. An object is the file at its key, mode 0600 because packages can hold secrets. It is
// written and fsynced as a file in .tmp, hard-linked to its name (which exactly one of many contenders achieves; rename
// would replace, and O_EXCL would show a half-written file) and the directory fsynced. So a name that is there stands
// for whole bytes on disk, whatever crashed.
//
//	.lock        held by flock during a reconcile or a gc; its text says by whom
//	.tmp/        files being written; nothing reads them
//	.tmp/lock    flock: shared by whoever writes, exclusive for whoever clears .tmp, so no live writer is hurt
type Local struct {
	dir  string
	disk durable.Disk

	mu   sync.Mutex
	made map[string]bool // directories that are known to be durable
}

const (
	lockName = ".lock"
	tempDir  = ".tmp"
	filePerm = 0o600
	dirPerm  = 0o700
)

func openLocal(dir string) (*Local, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, syscall.ENOTDIR), err == nil && !info.IsDir():
		return nil, fault.Hint(fmt.Errorf("store: %s is not a directory", dir), "name the store's directory with --store")
	case err != nil:
		return nil, hinted(fmt.Errorf("store: %w", err), dir)
	}
	l := &Local{dir: dir, made: map[string]bool{}}
	l.clearTemp()
	return l, nil
}

func (l *Local) path(key string) (string, error) {
	if err := schema.CheckKey(key); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, filepath.FromSlash(key)), nil
}

// Open implements Store.
func (l *Local) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := l.path(key)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Whoever may write to the folder shall not have us hand out a file elsewhere, or hang on a pipe.
	info, err := os.Lstat(path)
	if errors.Is(err, syscall.ENOTDIR) {
		err = fs.ErrNotExist
	}
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", key, reason(err))
	}
	return f, nil
}

// Create implements Store.
func (l *Local) Create(ctx context.Context, key string, r io.Reader) error {
	path, err := l.path(key)
	if err != nil {
		return err
	}
	err = l.create(ctx, path, r)
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
	unlock, err := flock(filepath.Join(temp, "lock"), shared)
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

// Delete implements Store. The emptied directory stays: removing it would race with a writer.
func (l *Local) Delete(ctx context.Context, key string) error {
	path, err := l.path(key)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.disk.Remove(path); err != nil {
		return hinted(fmt.Errorf("store: delete %s: %w", key, reason(err)), l.dir)
	}
	return nil
}

// DeleteAll removes objects in no order; those that are not there are passed over. All is durable once it returns nil.
// One sync for a directory and not for each of its files makes it quick.
func (l *Local) DeleteAll(ctx context.Context, keys []string) error {
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
func (l *Local) Now() (now time.Time, err error) {
	temp := filepath.Join(l.dir, tempDir)
	if err := l.mkdir(temp); err != nil {
		return now, err
	}
	f, err := os.OpenFile(filepath.Join(temp, "lock"), os.O_WRONLY|os.O_CREATE, filePerm)
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

// List implements Store. Files whose name is no key are passed over; Fsck mentions them.
func (l *Local) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		_, err := l.walk(ctx, "", prefix, yield)
		if err != nil {
			yield(Entry{}, hinted(fmt.Errorf("store: list %s: %w", prefix, reason(err)), l.dir))
		}
	}
}

// walk yields the objects in the directory of key sub ("" or ending in a slash); more is false once yield was.
func (l *Local) walk(ctx context.Context, sub, prefix string, yield func(Entry, error) bool) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(filepath.Join(l.dir, filepath.FromSlash(sub)))
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
			if key += "/"; strings.HasPrefix(key, prefix) || strings.HasPrefix(prefix, key) {
				keys = append(keys, key)
			}
		case e.Type().IsRegular() && strings.HasPrefix(key, prefix) && schema.CheckKey(key) == nil:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		if strings.HasSuffix(key, "/") {
			if schema.CheckKey(key+"x") != nil {
				continue // .tmp, or nothing of ours
			}
			if more, err := l.walk(ctx, key, prefix, yield); !more || err != nil {
				return false, err
			}
			continue
		}
		info, err := os.Lstat(filepath.Join(l.dir, filepath.FromSlash(key)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted meanwhile
		}
		if err != nil {
			return false, err
		}
		if !yield(Entry{Key: key, Size: info.Size(), Time: info.ModTime()}, nil) {
			return false, nil
		}
	}
	return true, nil
}

// Lock is the back end's part of the function Lock.
func (l *Local) Lock(ctx context.Context) (func() error, error) {
	if err := l.mkdir(filepath.Clean(l.dir)); err != nil {
		return nil, hinted(fmt.Errorf("store: lock: %w", err), l.dir)
	}
	path := filepath.Join(l.dir, lockName)
	release, err := flock(path, exclusive)
	if errors.Is(err, errLocked) {
		holder, _ := os.ReadFile(path)
		return nil, fault.Hint(fmt.Errorf("another reconcile is running on store %s, or a gc", l.dir),
			"wait for it to end%s", holderText(holder))
	}
	if err != nil {
		return nil, hinted(fmt.Errorf("store: lock: %w", err), l.dir)
	}
	// For the hint only: the lock is the flock, so this text may be stale or missing.
	name, _ := os.Hostname()
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d on %s", os.Getpid(), name), filePerm)
	return release, nil
}

func holderText(b []byte) string {
	if len(b) == 0 || len(b) > 300 {
		return ""
	}
	return fmt.Sprintf(" (the lock was taken by %q)", b)
}

// clearTemp removes what dead writers left, unless a live one is at work; then it is for the next to do. A store that
// cannot be written is left as it is.
func (l *Local) clearTemp() {
	temp := filepath.Join(l.dir, tempDir)
	lock := filepath.Join(temp, "lock")
	if _, err := os.Stat(lock); err != nil {
		return
	}
	unlock, err := flock(lock, exclusive)
	if err != nil {
		return
	}
	defer unlock()
	_ = durable.Sweep(temp)
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

// Strays lists what lies in the store's directory and is neither an object nor the store's own, as slash-separated
// paths in it.
func (l *Local) Strays() (paths []string, err error) {
	err = filepath.WalkDir(l.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return hinted(fmt.Errorf("store: %w", err), l.dir)
		}
		rel, err := filepath.Rel(l.dir, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
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
