// Package contents lists what a package holds, from its bytes alone, so that two packages can be compared file by file.
//
// It reads what package bake writes, and of other packages of these formats only as much as is alike.
package contents

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"bakehouse/reconcile/evaluate/archive/stream"
	"bakehouse/schema"
)

// File is one entry of a package. A maintainer script of a deb has a path such as "DEBIAN/postinst".
type File struct {
	Path   string        `json:"path"`
	Mode   fs.FileMode   `json:"mode"`            // fs.ModeDir or fs.ModeSymlink, and permissions
	Owner  string        `json:"owner,omitempty"` // user:group, where the archive says so
	Link   string        `json:"link,omitempty"`  // of a symbolic link, what it leads to
	Size   int64         `json:"size"`
	SHA256 schema.Digest `json:"sha256,omitzero"` // zero for a directory or link

	config []byte // of schema.ConfigFile, what it holds
}

// Config is what schema.ConfigFile holds; nil if it is not among the entries.
func Config(files []File) []byte {
	for _, f := range files {
		if schema.IsConfigFile(f.Path) {
			return f.config
		}
	}
	return nil
}

// maxConfig bounds the settings that are kept, in bytes.
const maxConfig = 1 << 20

// ErrFormat says that packages of a format cannot be listed.
var ErrFormat = errors.New("cannot list what packages of this format hold")

// maxLink bounds a link's target, in bytes.
const maxLink = 64 << 10

// maxFiles bounds how many entries are listed.
const maxFiles = 1 << 20

// List reads a whole package and returns its entries by path.
func List(format schema.Format, r io.Reader) (files []File, err error) {
	in := bufio.NewReader(r)
	switch format {
	case schema.Tgz:
		files, err = tgz(in, "")
	case schema.Deb:
		files, err = deb(in)
	case schema.Rpm:
		files, err = rpm(in)
	case schema.Pkg:
		files, err = pkg(in)
	case schema.Msi:
		files, err = installed(in)
	default:
		return nil, fmt.Errorf("%s: %w", format, ErrFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a %s: %w", format, err)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}

func tgz(r io.Reader, under string) (files []File, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false) // package managers drop what is behind the first
	t := tar.NewReader(z)
	for {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, z) // to the checksum
			return files, err
		}
		if err != nil {
			return nil, err
		}
		f := File{Path: under + strings.TrimPrefix(h.Name, "."), Mode: h.FileInfo().Mode() & (fs.ModeType | fs.ModePerm),
			Owner: h.Uname + ":" + h.Gname, Link: h.Linkname, Size: h.Size}
		if files, err = add(files, f, t); err != nil {
			return nil, err
		}
	}
}

// add digests a file's content and appends it.
func add(files []File, f File, content io.Reader) ([]File, error) {
	if len(files) == maxFiles {
		return nil, fmt.Errorf("more than %d entries", maxFiles)
	}
	if f.Mode.IsDir() {
		f.Path = strings.TrimSuffix(f.Path, "/") + "/"
		return append(files, f), nil
	}
	if f.Mode&fs.ModeSymlink != 0 {
		f.Size = int64(len(f.Link))
		return append(files, f), nil
	}
	h := sha256.New()
	into := io.Writer(h)
	var config bytes.Buffer
	if schema.IsConfigFile(f.Path) && f.Size <= maxConfig {
		into = io.MultiWriter(h, &config)
	}
	n, err := io.Copy(into, content)
	if err == nil && n != f.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("file %.200q: %w", f.Path, err)
	}
	f.SHA256, f.config = schema.Digest(h.Sum(nil)), config.Bytes()
	return append(files, f), nil
}

// deb reads an ar archive's two members of the names control.tar.gz and data.tar.gz.
func deb(r io.Reader) (files []File, err error) {
	ar := stream.NewAr(r)
	for {
		m, err := ar.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		under := ""
		switch m.Name {
		case "control.tar.gz":
			under = "DEBIAN"
		case "data.tar.gz":
		default:
			continue
		}
		more, err := tgz(ar, under)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		files = append(files, more...)
	}
}

// rpm reads the cpio archive behind the head. Owners are in the header only.
func rpm(r io.Reader) (files []File, err error) {
	if _, err := stream.RPMPayload(r); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	err = cpio(z, func(m stream.CpioMember, content io.Reader) error {
		f := File{Path: strings.TrimPrefix(m.Name, "."), Mode: permissions(m), Size: m.Size}
		switch m.Mode & 0o170000 {
		case 0o040000:
			f.Mode |= fs.ModeDir
		case 0o120000:
			f.Mode |= fs.ModeSymlink
			to, err := io.ReadAll(io.LimitReader(content, maxLink))
			if err != nil {
				return err
			}
			f.Link = string(to)
		}
		files, err = add(files, f, content)
		return err
	})
	if err == nil {
		_, err = io.Copy(io.Discard, z) // to the checksum
	}
	return files, err
}

// cpio hands out the members of an archive, up to its end.
func cpio(r io.Reader, member func(m stream.CpioMember, content io.Reader) error) error {
	c := stream.NewCpio(r)
	for {
		m, err := c.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := member(m, c); err != nil {
			return err
		}
	}
}

func permissions(m stream.CpioMember) fs.FileMode { return fs.FileMode(m.Mode) & fs.ModePerm }

// pkg reads both archives of a datastream: what pkgmap says of directories, modes and owners, and what the entries
// hold.
func pkg(r io.Reader) (files []File, err error) {
	c := &counting{r: r}
	if _, err := io.CopyN(io.Discard, c, 512); err != nil {
		return nil, err
	}
	said := map[string]File{}
	for range 2 {
		if err := cpio(c, func(m stream.CpioMember, content io.Reader) error {
			f := File{Path: m.Name, Mode: permissions(m), Size: m.Size}
			switch under, rest, _ := strings.Cut(m.Name, "/"); {
			case under == "root":
				f.Path = "/" + rest
			case under == "install":
			case m.Name == "pkgmap":
				b, err := io.ReadAll(io.LimitReader(content, maxPkgMap))
				said = pkgMap(b)
				return err
			default: // pkginfo, and what stands in the first archive only for pkgadd to look at
				return nil
			}
			if s, ok := said[f.Path]; ok {
				f.Mode, f.Owner = s.Mode, s.Owner
			}
			files, err = add(files, f, content)
			return err
		}); err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, c, -c.n&511); err != nil {
			return nil, err
		}
	}
	for _, f := range said {
		if !f.Mode.IsRegular() {
			if files, err = add(files, f, nil); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

const maxPkgMap = 64 << 20

// pkgMap is what a pkgmap(4) says of files and directories, by path. Of one that is to stay as it is, it says nothing.
func pkgMap(b []byte) map[string]File {
	said := map[string]File{}
	for line := range strings.Lines(string(b)) {
		w := strings.Fields(line)
		if len(w) == 4 && w[1] == "s" {
			name, to, _ := strings.Cut(w[3], "=")
			said[name] = File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: to}
		}
		if len(w) < 7 {
			continue
		}
		mode, err := strconv.ParseUint(w[4], 8, 12)
		f := File{Path: w[3], Mode: fs.FileMode(mode) & fs.ModePerm, Owner: w[5] + ":" + w[6]}
		if err != nil {
			f.Mode, f.Owner = 0, ""
		}
		switch w[1] {
		case "d":
			f.Mode |= fs.ModeDir
		case "f":
		default:
			continue
		}
		said[f.Path] = f
	}
	return said
}

// counting counts what is read.
type counting struct {
	r io.Reader
	n int64
}

func (c *counting) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// Difference says how the packages a and b differ, entry by entry: a line each, in order of paths.
func Difference(a, b []File) (lines []string) {
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Path < b[0].Path:
			lines = append(lines, "only published: "+a[0].String())
			a = a[1:]
		case len(a) == 0 || b[0].Path < a[0].Path:
			lines = append(lines, "only baked: "+b[0].String())
			b = b[1:]
		default:
			if d := a[0].against(b[0]); d != "" {
				lines = append(lines, a[0].Path+": "+d)
			}
			a, b = a[1:], b[1:]
		}
	}
	return lines
}

func (f File) String() string {
	switch {
	case f.Mode.IsDir():
		return fmt.Sprintf("%s %v", f.Path, f.Mode)
	case f.Mode&fs.ModeSymlink != 0:
		return fmt.Sprintf("%s %v to %s", f.Path, f.Mode, f.Link)
	}
	return fmt.Sprintf("%s %v, %d bytes, %s", f.Path, f.Mode, f.Size, f.SHA256)
}

// against says what of f is otherwise in g.
func (f File) against(g File) string {
	var parts []string
	part := func(what string, a, b any) {
		if a != b {
			parts = append(parts, fmt.Sprintf("%s %v published, %v baked", what, a, b))
		}
	}
	part("mode", f.Mode, g.Mode)
	part("owner", f.Owner, g.Owner)
	part("link", f.Link, g.Link)
	part("size", f.Size, g.Size)
	part("digest", f.SHA256, g.SHA256)
	return strings.Join(parts, "; ")
}
