// Package ready looks, before an installation touches anything, for what of the host would stop it half-way: file
// systems that cannot be written, or do not execute what the package has there, and room that is missing. Such a
// condition is no fault of the package.
package ready

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"bakehouse/agent/install/listing"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// reserve is left free on a disk that we write to, in bytes.
const reserve = 16 << 20

// Host is where a package goes, as far as that matters here.
type Host struct {
	Path    func(string) string // where an absolute path of a package is
	Scripts string              // where the package manager executes the package's scripts from; empty: nowhere
	// List is what a program prints on stdout.
	List func(ctx context.Context, program string, args ...string) ([]byte, error)
	Has  func(program string) bool // where packages' scripts look for programs
}

// Check returns an error if the host cannot take a package with those files.
func (h Host) Check(files listing.List, format schema.Format) error {
	look := survey{h.Path, map[string]*mounted{}, map[uint64]*place{}}
	if h.Scripts != "" {
		files = append(files[:len(files):len(files)],
			listing.File{Path: path.Join(h.Scripts, "preinst"), Size: 1 << 20, Mode: 0o755})
	}
	for _, f := range files {
		if format == schema.Tgz { // all lies in a folder of the version, and paths on the host become links to it
			if _, err := os.Lstat(h.Path(f.Path)); err != nil {
				if err := look.add(listing.File{Path: f.Path}); err != nil {
					return err
				}
			}
			f.Path = path.Join(schema.VersionDir, "versions", f.Path)
		}
		if err := look.add(f); err != nil {
			return err
		}
	}
	for _, on := range look.places {
		if err := on.room(); err != nil {
			return err
		}
	}
	return nil
}

// survey is what is known of a host's file systems.
type survey struct {
	path   func(string) string
	folder map[string]*mounted // by path as in packages
	places map[uint64]*place   // by device
}

// place is a file system, and what a package needs there.
type place struct {
	dir           string // one of those on it
	free, inodes  int64  // inodes: -1 if it does not count them
	bytes, number int64
}

func (p *place) room() error {
	const block = 4 << 10
	switch need := p.bytes + p.number*block + reserve; {
	case p.free < need:
		return fault.Hint(fmt.Errorf("not enough disk space: %s has %d MB free and %d MB are needed", p.dir, p.free>>20,
			need>>20+1), "free some space; nothing was changed, and the next update tries again")
	case p.inodes >= 0 && p.inodes < p.number:
		return fault.Hint(fmt.Errorf("not enough inodes: the file system of %s has %d left and %d are needed", p.dir,
			p.inodes, p.number), "remove some files there; nothing was changed, and the next update tries again")
	}
	return nil
}

// add counts a file where it will be.
func (s *survey) add(f listing.File) error {
	folder := path.Dir(f.Path)
	dir := Existing(s.path(folder))
	fsys, known := s.folder[folder]
	if !known {
		var err error
		if fsys, err = fileSystem(dir); err != nil {
			return err
		}
		s.folder[folder] = fsys
	}
	if fsys == nil {
		return nil
	}
	const mend = "mount it otherwise; nothing was changed, and the next update tries again"
	switch {
	case fsys.readOnly:
		return fault.Hint(fmt.Errorf("the file system of %s is mounted read-only", dir), mend)
	case f.Mode&0o111 != 0 && fsys.noexec:
		return fault.Hint(fmt.Errorf("the file system of %s is mounted noexec, and %s is a program", dir, f.Path), mend)
	}
	on := s.places[fsys.device]
	if on == nil {
		on = &place{dir: dir, free: fsys.free, inodes: fsys.inodes}
		s.places[fsys.device] = on
	}
	on.bytes += f.Size
	on.number++
	return nil
}

// FullError is that a file system has no room.
type FullError struct{ err error }

func (e *FullError) Error() string { return e.err.Error() }
func (e *FullError) Unwrap() error { return e.err }

// Room tells how much more may be written to dir's file system than when it is called: an error if need bytes are too
// many.
func Room(dir string) func(need int64) error {
	m, err := fileSystem(Existing(dir))
	return func(need int64) error {
		if err != nil || m == nil || m.free >= need+reserve {
			return nil
		}
		return &FullError{fault.Hint(fmt.Errorf("not enough disk space: %s has %d MB free and more than %d MB are "+
			"needed", dir, m.free>>20, (need+reserve)>>20),
			"free some space; nothing was changed, and the next update tries again")}
	}
}

// Space returns an error unless dir's file system has room for n bytes.
func Space(dir string, n int64) error {
	m, err := fileSystem(Existing(dir))
	if err != nil || m == nil || m.free >= n+reserve {
		return err
	}
	return fault.Hint(fmt.Errorf("not enough disk space: %s has %d MB free and %d MB are needed", dir, m.free>>20,
		(n+reserve)>>20+1), "free some space; nothing was fetched or changed")
}

// Existing is the deepest directory on the way to p that exists.
func Existing(p string) string {
	for {
		if _, err := os.Lstat(p); err == nil || p == filepath.Dir(p) {
			return p
		}
		p = filepath.Dir(p)
	}
}
