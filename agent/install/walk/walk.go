// Package walk reaches files of a host as root without being led elsewhere by those who may change a folder on the way.
//
// A service's user owns folders below root's: it can make one a link to /etc, or exchange it in the middle of an
// update. So each folder is opened in the one above it (os.Root, openat), and a link on the way is followed only if
// root made it in a folder that nobody else may change, as /lib -> usr/lib is. What is then done is done in the
// folder that was opened, whatever its path leads to by now.
package walk

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

const maxLinks = 40

// Host reaches what is below Root, a physical path: "/", or a directory in its place. Paths are those of the machine.
type Host struct {
	Root  string
	given string // likewise, as paths may have it
}

// At is the host below a root; empty: the machine.
func At(root string) (Host, error) {
	given, err := filepath.Abs(cmp.Or(root, "/"))
	if err != nil {
		return Host{}, err
	}
	physical, err := filepath.EvalSymlinks(given)
	return Host{physical, given}, err
}

// Path is where a path of the host is on the machine.
func (h Host) Path(path string) string { return filepath.Join(h.Root, path) }

// LedError says that a link on the way could have been made by others than root.
type LedError struct{ Link, Target, By string }

func (e *LedError) Error() string {
	return fmt.Sprintf("%s leads to %.200q, and %s could have made that link: nothing is written through it",
		e.Link, e.Target, e.By)
}

func led(link, target, by string) error {
	return fault.Hint(&LedError{link, target, by}, "find out who made the link, and remove it; if it is to stay, it "+
		"and the folder that it is in have to belong to root, and nobody else may write to that")
}

// Resolve is the physical path of a folder that exists.
func (h Host) Resolve(dir string) (string, error) {
	d, at, err := h.open(dir)
	if err != nil {
		return "", err
	}
	return at, d.Close()
}

// open opens a folder, and says what its physical path is.
func (h Host) open(dir string) (*os.Root, string, error) {
	rest, err := h.below(dir, dir)
	if err != nil {
		return nil, "", err
	}
	for range maxLinks {
		d, at, link, after, err := h.descend(rest)
		if err != nil || link == "" {
			return d, at, err
		}
		to, err := d.Readlink(filepath.Base(link))
		if err == nil {
			err = trusted(d, link, to)
		}
		d.Close()
		if err != nil {
			return nil, "", err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(at, to)
		}
		if rest, err = h.below(to, link); err != nil {
			return nil, "", err
		}
		rest = append(rest, after...)
	}
	return nil, "", &fs.PathError{Op: "open", Path: dir, Err: syscall.ELOOP}
}

// below splits a path below the root into its steps.
func (h Host) below(path, from string) ([]string, error) {
	rel, err := filepath.Rel(h.Root, path)
	if err == nil && !filepath.IsLocal(rel) {
		rel, err = filepath.Rel(h.given, path)
	}
	if err != nil || !filepath.IsLocal(rel) {
		return nil, fmt.Errorf("%s points to %s, outside of the root %s", from, path, h.Root)
	}
	if rel == "." {
		return nil, nil
	}
	return strings.Split(rel, string(filepath.Separator)), nil
}

// descend goes down from the root up to the first link: link is its path, after are the steps behind it, and the
// folder that it is in stays open.
func (h Host) descend(steps []string) (d *os.Root, at, link string, after []string, err error) {
	if d, err = os.OpenRoot(h.Root); err != nil {
		return nil, "", "", nil, err
	}
	at = h.Root
	for i, name := range steps {
		next := filepath.Join(at, name)
		was, err := d.Lstat(name)
		if err != nil {
			d.Close()
			return nil, "", "", nil, named(next, err)
		}
		if was.Mode()&fs.ModeSymlink != 0 {
			return d, at, next, steps[i+1:], nil
		}
		below, err := d.OpenRoot(name)
		d.Close()
		if err != nil {
			return nil, "", "", nil, named(next, err)
		}
		// What was a folder may be a link by now, and was followed then.
		if is, err := below.Stat("."); err != nil || !os.SameFile(was, is) {
			below.Close()
			return nil, "", "", nil, errors.Join(err, led(next, "another folder", "whoever has just exchanged it"))
		}
		d, at = below, next
	}
	return d, at, "", nil, nil
}

// named gives an error of os.Root, which has names in a folder, the whole path.
func named(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return &fs.PathError{Op: pe.Op, Path: path, Err: pe.Err}
	}
	return err
}

// trusted refuses a link in d that others than root, or than who runs this, could have put there.
func trusted(d *os.Root, link, target string) error {
	fi, err := d.Lstat(filepath.Base(link))
	if err != nil {
		return err
	}
	dir, err := d.Stat(".")
	if err != nil {
		return err
	}
	for _, i := range []fs.FileInfo{fi, dir} {
		if uid, _, ok := owner(i); ok && uid != 0 && uid != os.Geteuid() {
			return led(link, target, fmt.Sprintf("user %d", uid))
		}
	}
	_, gid, _ := owner(dir)
	switch perm := dir.Mode().Perm(); {
	case perm&0o002 != 0:
		return led(link, target, "anybody")
	case perm&0o020 != 0 && gid != 0:
		return led(link, target, fmt.Sprintf("group %d", gid))
	}
	return nil
}

// at opens the folder of a path, and is the name in it.
// Roots reports whether a file belongs to root, or to who runs this, and so does its group.
func Roots(fi fs.FileInfo) bool {
	uid, gid, ok := owner(fi)
	return ok && (uid == 0 || uid == os.Geteuid()) && (gid == 0 || gid == os.Getegid())
}

func (h Host) at(path string) (*os.Root, string, error) {
	if steps, err := h.below(path, path); err == nil && len(steps) == 0 {
		d, _, err := h.open(path)
		return d, ".", err
	}
	d, _, err := h.open(filepath.Dir(path))
	return d, filepath.Base(path), err
}

func on[T any](h Host, path string, do func(d *os.Root, name string) (T, error)) (v T, err error) {
	d, name, err := h.at(path)
	if err != nil {
		return v, err
	}
	defer d.Close()
	v, err = do(d, name)
	return v, named(path, err)
}

// Lstat describes what is at a path; of a link, the link.
func (h Host) Lstat(path string) (fs.FileInfo, error) { return on(h, path, (*os.Root).Lstat) }

// Readlink is where the link at a path leads.
func (h Host) Readlink(path string) (string, error) { return on(h, path, (*os.Root).Readlink) }

// Open opens the regular file at a path to read it: no link, and nothing that opening would wait for.
func (h Host) Open(path string) (*os.File, error) {
	return on(h, path, func(d *os.Root, name string) (*os.File, error) {
		was, err := d.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !was.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is no file")}
		}
		f, err := d.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		if is, err := f.Stat(); err != nil || !os.SameFile(was, is) {
			f.Close()
			return nil, errors.Join(err, led(path, "another file", "whoever has just exchanged it"))
		}
		return f, nil
	})
}

// Link gives the file or link at from another name, to: in the same folder, or in another one where the system can
// (else errors.ErrUnsupported).
func (h Host) Link(from, to string) error {
	if filepath.Dir(from) == filepath.Dir(to) {
		_, err := on(h, from, func(d *os.Root, old string) (struct{}, error) {
			return struct{}{}, d.Link(old, filepath.Base(to))
		})
		return err
	}
	_, err := on(h, from, func(a *os.Root, old string) (struct{}, error) {
		return on(h, to, func(b *os.Root, name string) (struct{}, error) {
			return struct{}{}, link(a, old, b, name)
		})
	})
	return err
}

// Remove removes a file or link, durably.
func (h Host) Remove(path string) error { return h.Disk().Remove(path) }

// Keep copies the file or link at from below dir, a folder of ours, and at most limit bytes. A link that was kept there
// earlier leads no copy out of it.
func (h Host) Keep(from, dir, name string, limit int64) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	disk := durable.Disk{In: func(path string) (durable.Files, string, error) {
		name, err := filepath.Rel(dir, path)
		return root, name, err
	}}
	to := filepath.Join(dir, name)
	if target, err := h.Readlink(from); err == nil {
		return errors.Join(disk.MkdirAll(filepath.Dir(to), 0o700), disk.Symlink(target, to))
	}
	f, err := h.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := disk.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return disk.WriteFrom(to, io.LimitReader(f, limit), 0o600)
}

// Disk makes durable changes, each in the folder that was walked to.
func (h Host) Disk() durable.Disk {
	return durable.Disk{In: func(path string) (durable.Files, string, error) {
		d, name, err := h.at(path)
		return d, name, err // which its cleanup closes
	}}
}
