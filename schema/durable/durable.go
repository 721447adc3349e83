package durable

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Disk makes the calls. The zero Disk is the real one; the functions of this package are its methods.
type Disk struct {
	// Around, if set, is called instead of each system call that changes something, and decides whether do is called
	// and what the call returns. It is how tests fail each step, before or after it took effect.
	Around func(c Call, do func() error) error

	// In, if set, says through what a path is reached, and under which name there: a directory whose writer is not
	// trusted is changed through its os.Root, so that no link in it leads elsewhere.
	In func(path string) (files Files, name string, err error)
}

// Files makes the calls on files; *os.Root does.
type Files interface {
	Open(name string) (*os.File, error)
	OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error)
	Lstat(name string) (fs.FileInfo, error)
	Stat(name string) (fs.FileInfo, error)
	Mkdir(name string, perm fs.FileMode) error
	Link(from, name string) error
	Rename(from, name string) error
	Symlink(target, name string) error
	Remove(name string) error
}

// Machine is the whole file system, as package os has it.
var Machine Files = machine{}

type machine struct{}

func (machine) Open(name string) (*os.File, error) { return os.Open(name) }
func (machine) OpenFile(name string, flag int, perm fs.FileMode) (*os.File, error) {
	return openFile(name, flag, perm)
}
func (machine) Lstat(name string) (fs.FileInfo, error)    { return os.Lstat(name) }
func (machine) Stat(name string) (fs.FileInfo, error)     { return os.Stat(name) }
func (machine) Mkdir(name string, perm fs.FileMode) error { return mkdir(name, perm) }
func (machine) Link(from, name string) error              { return os.Link(from, name) }
func (machine) Rename(from, name string) error            { return rename(from, name) }
func (machine) Symlink(target, name string) error         { return os.Symlink(target, name) }
func (machine) Remove(name string) error                  { return remove(name) }

// at is what a path is reached through.
func (d Disk) at(path string) (Files, string, error) {
	if d.In == nil {
		return Machine, path, nil
	}
	return d.In(path)
}

// on makes one call on a path.
func (d Disk) on(path string, do func(files Files, name string) error) error {
	files, name, err := d.at(path)
	if err != nil {
		return err
	}
	return do(files, name)
}

// onTwo makes one call on two paths below the same directory.
func (d Disk) onTwo(from, path string, do func(files Files, from, name string) error) error {
	return d.on(path, func(files Files, name string) error {
		return d.on(from, func(_ Files, from string) error { return do(files, from, name) })
	})
}

func (d Disk) lstat(path string) (info fs.FileInfo, err error) {
	err = d.on(path, func(files Files, name string) error {
		info, err = files.Lstat(name)
		return err
	})
	return info, err
}

func (d Disk) stat(path string) (info fs.FileInfo, err error) {
	err = d.on(path, func(files Files, name string) error {
		info, err = files.Stat(name)
		return err
	})
	return info, err
}

// Call names a system call and the path that it is about; for link and rename, From is the path that is there.
type Call struct {
	Name string // open, write, chmod, fsync, close, link, rename, symlink, unlink, mkdir, fsyncdir
	Path string
	From string
}

func (d Disk) call(name, path string, do func() error) error {
	return d.around(Call{Name: name, Path: path}, do)
}

func (d Disk) around(c Call, do func() error) error {
	if d.Around == nil {
		return do()
	}
	return d.Around(c, do)
}

// WriteFile replaces the file at path, or creates it, with exactly the permission bits perm.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Disk{}.WriteFile(path, data, perm)
}

// Create creates the file at path from r. If there is one already, it is left alone, r is not read to its end, and
// the error is fs.ErrExist; of many callers at a time exactly one succeeds.
func Create(path string, r io.Reader, perm fs.FileMode) error {
	return Disk{}.Create(path, r, perm)
}

// Rename moves a file, replacing what is at path.
func Rename(from, path string) error { return Disk{}.Rename(from, path) }

// Symlink makes path a symbolic link to target, replacing a file or link that is there.
func Symlink(target, path string) error { return Disk{}.Symlink(target, path) }

// Remove removes a file or an empty directory; the error is fs.ErrNotExist if there is none.
func Remove(path string) error { return Disk{}.Remove(path) }

// MkdirAll creates a directory and its missing parents. A directory that is there already is taken to be durable.
func MkdirAll(path string, perm fs.FileMode) error { return Disk{}.MkdirAll(path, perm) }

// SyncDir makes the names in a directory durable.
func SyncDir(path string) error { return Disk{}.SyncDir(path) }

// WriteFile is the function of that name.
func (d Disk) WriteFile(path string, data []byte, perm fs.FileMode) error {
	return d.WriteFrom(path, bytes.NewReader(data), perm)
}

// WriteFrom is WriteFile with the content of r. If r fails, the file at path stays as it was.
func (d Disk) WriteFrom(path string, r io.Reader, perm fs.FileMode) error {
	temp, err := d.writeTemp(filepath.Dir(path), r, perm, true)
	if err != nil {
		return err
	}
	return d.install(temp, path)
}

// Create is the function of that name.
func (d Disk) Create(path string, r io.Reader, perm fs.FileMode) error {
	return d.CreateVia(filepath.Dir(path), path, r, perm)
}

// CreateVia is Create with the temporary file in another directory of the same file system.
func (d Disk) CreateVia(tempDir, path string, r io.Reader, perm fs.FileMode) error {
	if _, err := d.lstat(path); err == nil {
		return d.exists(path)
	}
	temp, err := d.writeTemp(tempDir, r, perm, true)
	if err != nil {
		return err
	}
	err = d.around(Call{Name: "link", Path: path, From: temp}, func() error {
		return d.onTwo(temp, path, Files.Link)
	})
	if errors.Is(err, fs.ErrExist) && d.sameFile(temp, path) {
		err = nil // NFS: the first answer was lost and the repeated request met its own link
	}
	d.discard(temp)
	if errors.Is(err, fs.ErrExist) {
		return d.exists(path)
	}
	if err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// exists says that path exists once that is durable: whoever created it may have died before its own sync.
func (d Disk) exists(path string) error {
	if err := d.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
}

// Rename is the function of that name.
func (d Disk) Rename(from, path string) error {
	err := d.around(Call{Name: "rename", Path: path, From: from}, func() error {
		return d.onTwo(from, path, Files.Rename)
	})
	if err != nil {
		return err
	}
	dir, old := filepath.Dir(path), filepath.Dir(from)
	if err := d.SyncDir(dir); err != nil || dir == old {
		return err
	}
	return d.SyncDir(old)
}

// Symlink is the function of that name.
func (d Disk) Symlink(target, path string) error {
	temp := filepath.Join(filepath.Dir(path), tempName())
	if err := d.call("symlink", temp, func() error {
		return d.on(temp, func(files Files, name string) error { return files.Symlink(target, name) })
	}); err != nil {
		d.discard(temp)
		return err
	}
	return d.install(temp, path)
}

// Remove is the function of that name.
func (d Disk) Remove(path string) error {
	if err := d.Unlink(path); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// Unlink is Remove without the sync, for many files of a directory: SyncDir has to follow.
func (d Disk) Unlink(path string) error {
	return d.call("unlink", path, func() error { return d.on(path, Files.Remove) })
}

// MkdirAll is the function of that name.
func (d Disk) MkdirAll(path string, perm fs.FileMode) error {
	if info, err := d.stat(path); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
		}
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := d.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	return d.Mkdir(path, perm)
}

// Mkdir creates a directory whose parent exists. Unlike os.Mkdir it accepts one that is there and syncs the parent in
// any case, so that after nil the directory is durable no matter who created it.
func (d Disk) Mkdir(path string, perm fs.FileMode) error {
	err := d.call("mkdir", path, func() error {
		return d.on(path, func(files Files, name string) error { return files.Mkdir(name, perm) })
	})
	if errors.Is(err, fs.ErrExist) {
		if info, statErr := d.stat(path); statErr == nil && info.IsDir() {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// SyncDir is the function of that name.
func (d Disk) SyncDir(path string) error {
	return d.call("fsyncdir", path, func() error {
		if runtime.GOOS == "windows" {
			return nil
		}
		files, name, err := d.at(path)
		if err != nil {
			return err
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		err = f.Sync()
		// AIX says EBADF of whatever is not open for writing, and a directory cannot be.
		if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || runtime.GOOS == "aix" && errors.Is(err, syscall.EBADF) {
			return nil
		}
		return err
	})
}

const tempPrefix = ".tmp-"

func tempName() string { return tempPrefix + rand.Text() }

// Sweep removes what crashed calls left in dir. Only for a directory in which nobody else is writing.
func Sweep(dir string) error { return Disk{}.Sweep(dir) }

// Sweep is the function of that name.
func (d Disk) Sweep(dir string) error {
	var entries []fs.DirEntry
	err := d.on(dir, func(files Files, name string) error {
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		entries, err = f.ReadDir(-1)
		return err
	})
	if err != nil {
		return err
	}
	var all []error
	for _, e := range entries {
		if IsTemp(e.Name()) {
			all = append(all, d.on(filepath.Join(dir, e.Name()), Files.Remove))
		}
	}
	return errors.Join(all...)
}

// IsTemp reports whether a file of that base name is a temporary file of this package.
func IsTemp(name string) bool {
	return len(name) == len(tempPrefix)+26 && strings.HasPrefix(name, tempPrefix)
}

// writeTemp writes a new temporary file, and syncs it if asked to; on an error there is none.
func (d Disk) writeTemp(dir string, r io.Reader, perm fs.FileMode, sync bool) (path string, err error) {
	path = filepath.Join(dir, tempName())
	var f *os.File
	err = d.call("open", path, func() error {
		return d.on(path, func(files Files, name string) (err error) {
			f, err = files.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, tempPerm(perm))
			return err
		})
	})
	if err != nil {
		if f != nil {
			f.Close()
		}
		d.discard(path)
		return "", err
	}
	_, err = io.Copy(writerFunc(func(b []byte) (n int, err error) {
		err = d.call("write", path, func() (err error) { n, err = f.Write(b); return err })
		return n, err
	}), r)
	if err == nil && perm.Perm() != tempPerm(perm) {
		// Not at open, where the umask would take part.
		err = d.call("chmod", path, func() error { return f.Chmod(perm.Perm()) })
	}
	if err == nil && sync {
		err = d.call("fsync", path, f.Sync)
	}
	if closeErr := d.call("close", path, f.Close); err == nil {
		err = closeErr
	}
	if err != nil {
		f.Close() // if the call above did not
		d.discard(path)
		return "", err
	}
	return path, nil
}

// install renames a temporary file to its place.
func (d Disk) install(temp, path string) error {
	err := d.around(Call{Name: "rename", Path: path, From: temp}, func() error {
		return d.onTwo(temp, path, Files.Rename)
	})
	if err != nil {
		d.discard(temp)
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// discard removes a temporary file as far as that is possible; what stays is harmless.
func (d Disk) discard(temp string) {
	_ = d.call("unlink", temp, func() error { return d.on(temp, Files.Remove) })
}

func (d Disk) sameFile(a, b string) bool {
	x, err := d.lstat(a)
	if err != nil {
		return false
	}
	y, err := d.lstat(b)
	return err == nil && os.SameFile(x, y)
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }
