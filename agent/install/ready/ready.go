// Package ready looks, before an installation touches anything, for what of the host would stop it half-way: file
// systems that cannot be written, or do not execute what the package has there, and room that is missing. Such a
// condition is no fault of the package.
package ready

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// packed is a file that a package puts on the host.
type packed struct {
	path    string // absolute
	size    int64
	program bool // may be executed
}

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

// Check returns an error if the host cannot take the staged package.
func (h Host) Check(ctx context.Context, file string, format schema.Format) error {
	files, err := h.contents(ctx, file, format)
	if err != nil {
		return fmt.Errorf("looking at what the package holds: %w", err)
	}
	look := survey{h.Path, map[string]*mounted{}, map[uint64]*place{}}
	if h.Scripts != "" {
		files = append(files, packed{path.Join(h.Scripts, "preinst"), 1 << 20, true})
	}
	for _, f := range files {
		if format == schema.Tgz { // all lies in a folder of the version, and paths on the host become links to it
			if _, err := os.Lstat(h.Path(f.path)); err != nil {
				if err := look.add(packed{path: f.path}); err != nil {
					return err
				}
			}
			f.path = path.Join(schema.VersionDir, "versions", f.path)
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
func (s *survey) add(f packed) error {
	folder := path.Dir(f.path)
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
	case f.program && fsys.noexec:
		return fault.Hint(fmt.Errorf("the file system of %s is mounted noexec, and %s is a program", dir, f.path), mend)
	}
	on := s.places[fsys.device]
	if on == nil {
		on = &place{dir: dir, free: fsys.free, inodes: fsys.inodes}
		s.places[fsys.device] = on
	}
	on.bytes += f.size
	on.number++
	return nil
}

// contents lists the files of a staged package.
func (h Host) contents(ctx context.Context, file string, format schema.Format) ([]packed, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch format {
	case schema.Tgz:
		return tarEntries(f)
	case schema.Deb:
		data, err := debData(f)
		if err != nil || data == nil {
			return nil, err
		}
		return tarEntries(data)
	case schema.Rpm:
		return h.rpmEntries(ctx, file)
	}
	return nil, nil
}

func tarEntries(r io.Reader) (files []packed, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(io.LimitReader(z, schema.MaxPackage))
	for {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return files, nil
		case err != nil:
			return nil, err
		case h.Typeflag == tar.TypeReg:
			files = append(files, packed{path.Join("/", h.Name), h.Size, h.FileInfo().Mode()&0o111 != 0})
		}
	}
}

// debData is data.tar.gz of a deb, or nil if that is packed otherwise, as ours never is. A deb is an ar archive: a
// line, and members behind headers of 60 bytes, padded to even sizes.
func debData(r io.Reader) (io.Reader, error) {
	head := make([]byte, 60)
	if _, err := io.ReadFull(r, head[:8]); err != nil {
		return nil, err
	}
	for {
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, fmt.Errorf("data.tar.gz: %w", err)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(head[48:58])), 10, 64)
		if err != nil || size < 0 {
			return nil, errors.New("a member of the deb has no size")
		}
		switch name := string(head[:16]); {
		case strings.HasPrefix(name, "data.tar.gz"):
			return io.LimitReader(r, size), nil
		case strings.HasPrefix(name, "data.tar"):
			return nil, nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
			return nil, err
		}
	}
}

// rpmEntries asks rpm, whose format's header has the list.
func (h Host) rpmEntries(ctx context.Context, file string) (files []packed, err error) {
	out, err := h.List(ctx, "rpm", "--query", "--package", "--nosignature", "--queryformat",
		"[%{FILEMODES} %{FILESIZES} %{FILENAMES}\n]", file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		mode, rest, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
		size, name, _ := strings.Cut(rest, " ")
		m, merr := strconv.ParseUint(mode, 10, 16)
		n, serr := strconv.ParseInt(size, 10, 64)
		if merr != nil || serr != nil || !filepath.IsAbs(name) {
			return nil, fmt.Errorf("rpm lists %.80q", line)
		}
		if m&0o170000 == 0o100000 { // a regular file
			files = append(files, packed{name, n, fs.FileMode(m)&0o111 != 0})
		}
	}
	return files, nil
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
