package install

import (
	"archive/tar"
	"bytes"
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

// ready looks for what of the host would stop an installation half-way: file systems that cannot be written, or do not
// execute what the package has there, and room that is missing. Nothing is touched before that.
func (s *System) ready(ctx context.Context, p Package) error {
	files, err := s.contents(ctx, p)
	if err != nil {
		return fmt.Errorf("looking at what the package holds: %w", err)
	}
	look := survey{s, map[string]*mounted{}, map[uint64]*place{}}
	if p.Format == schema.Deb { // dpkg runs the package's scripts where it has unpacked them
		files = append(files, packed{path.Join(dpkgDir, "tmp.ci", "preinst"), 1 << 20, true})
	}
	for _, f := range files {
		if p.Format == schema.Tgz { // all lies in a folder of the version, and paths on the host become links to it
			if _, err := os.Lstat(s.path(f.path)); err != nil {
				if err := look.add(packed{path: f.path}); err != nil {
					return err
				}
			}
			f.path = path.Join(schema.VersionDir, versionsDir, f.path)
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
	sys    *System
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
	dir := existing(s.sys.path(folder))
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

// maxListing bounds the list of a package's files, in bytes.
const maxListing = 64 << 20

// contents lists the files of a staged package.
func (s *System) contents(ctx context.Context, p Package) ([]packed, error) {
	f, err := os.Open(p.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	switch p.Format {
	case schema.Tgz:
		return tarEntries(f)
	case schema.Deb:
		data, err := debData(f)
		if err != nil {
			return nil, err
		}
		return tarEntries(data)
	case schema.Rpm:
		return s.rpmEntries(ctx, p.File)
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

// debData is data.tar.gz of a deb, an ar archive: a line, and members behind headers of 60 bytes, padded to even sizes.
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
		if strings.HasPrefix(string(head), "data.tar.gz") {
			return io.LimitReader(r, size), nil
		}
		if _, err := io.CopyN(io.Discard, r, size+size&1); err != nil {
			return nil, err
		}
	}
}

// rpmEntries asks rpm, whose format's header has the list.
func (s *System) rpmEntries(ctx context.Context, file string) (files []packed, err error) {
	out, err := s.listing(ctx, "rpm", "--query", "--package", "--nosignature", "--queryformat",
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

// listing is what a program prints on stdout, at most maxListing of it.
func (s *System) listing(ctx context.Context, name string, args ...string) ([]byte, error) {
	c := s.program(ctx, nil, name, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr lastBytes
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(out, maxListing))
	_, _ = io.Copy(io.Discard, out)
	if werr := c.Wait(); werr != nil {
		err = errors.Join(fmt.Errorf("%s: %w: %s", name, werr, tail(stderr.b)), err)
	}
	return b.Bytes(), err
}
