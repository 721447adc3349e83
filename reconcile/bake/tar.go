package bake

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// file is an entry of a package: by its mode a regular file, a directory or a symbolic link.
type file struct {
	plugin string // empty: a directory that no plugin has, but files need
	path   string // absolute and clean
	mode   fs.FileMode
	link   string // of a symbolic link: its target
	owner  string // by name; empty: root
	group  string
	caps   []string // capabilities
	size   int64    // -1: not known before it is read
	sum    schema.Digest
	// vouched is whether sum is not of the bytes but of where they come from, which whoever opens the file checks.
	vouched bool
	open    func() (io.ReadCloser, error)
}

// implied reports whether it is a directory only because something lies in it.
func (f *file) implied() bool { return f.mode.IsDir() && f.plugin == "" }

func (f *file) isLink() bool { return f.mode&fs.ModeSymlink != 0 }

// epoch is the time of everything in a package. Not zero: GNU tar and lintian complain of files that old.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// archiver is a kind of archive, whose entries can be put one behind another in any groups.
type archiver struct {
	name string
	// write writes the entries of files, without an end, and checks what it reads (copyFile).
	write func(ctx context.Context, w io.Writer, files []*file) ([]fileSum, error)
	end   []byte // what ends the archive
}

var tarArchive = &archiver{"tar", tarFiles, make([]byte, 1024)}

// tarPadding brings a file of that size to whole blocks.
func tarPadding(size int) []byte { return make([]byte, -size&511) }

// tarStart writes the header of a file of the control archive.
func tarStart(w io.Writer, name string, size int) error {
	return tar.NewWriter(w).WriteHeader(tarHeader("./"+name, tar.TypeReg, 0o644, int64(size)))
}

func tarHeader(name string, kind byte, mode fs.FileMode, size int64) *tar.Header {
	h := &tar.Header{Typeflag: kind, Name: name, Mode: int64(mode.Perm()), Size: size, ModTime: epoch,
		Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
	if !ustarName(name) {
		h.Format = tar.FormatGNU // dpkg reads GNU's long names, but no PAX records
	}
	return h
}

// ustarName reports whether a name fits ustar: ASCII, 100 bytes, or 155 + 100 around a slash.
func ustarName(name string) bool {
	if strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		return false
	}
	if len(name) <= 100 {
		return true
	}
	// The writer splits at the last slash that leaves a prefix of at most 155 bytes.
	dir := strings.TrimSuffix(name, "/")
	i := strings.LastIndexByte(dir[:min(len(dir), 156)], '/')
	return i > 0 && len(name)-i-1 <= 100
}

// ustarLink reports whether a link's target fits ustar: ASCII, 100 bytes.
func ustarLink(to string) bool {
	return len(to) <= 100 && !strings.ContainsFunc(to, func(r rune) bool { return r >= 0x80 })
}

// oldTar says which name the tar of a system that has not GNU's cannot read. Whoever installs a host's first package by hand
// unpacks it with that.
func oldTar(l *layout) error {
	os := l.recipe.Platform.OS
	if os != "solaris" && os != "aix" {
		return nil
	}
	for _, files := range append(slices.Clone(l.shared), l.own) {
		for _, f := range files {
			if !ustarName("."+f.path) || !ustarLink(f.link) {
				return fault.Hint(fmt.Errorf("plugin %s: file %.200q: the tar of %s reads only names in ASCII, of 100 "+
					"bytes or of 155 and 100 around a slash, and links to names of 100 bytes", f.plugin, f.path, os),
					"name the file otherwise on these hosts")
			}
		}
	}
	return nil
}

// dirsOf is all directories that plugins have and files need, parents first.
func dirsOf(files, own []*file) ([]*file, error) {
	seen := map[string]*file{}
	for _, d := range own {
		seen[d.path] = d
	}
	for _, f := range slices.Concat(files, own) {
		if f.path == "/" {
			continue
		}
		for d := path.Dir(f.path); seen[d] == nil || seen[d].plugin != "" && d != "/"; d = path.Dir(d) {
			if seen[d] == nil {
				seen[d] = &file{path: d, mode: fs.ModeDir | 0o755}
			}
		}
	}
	for _, f := range files {
		if seen[f.path] != nil {
			return nil, fmt.Errorf("plugin %s: %s is a file, but another file needs it as a directory", f.plugin, f.path)
		}
	}
	return slices.SortedFunc(maps.Values(seen), byPath), nil
}

// fileSum is what reading a file yielded.
type fileSum struct {
	path string
	size int64
	md5  [md5.Size]byte
	sha  schema.Digest
	sum  byteSum
}

// byteSum adds up bytes.
type byteSum uint32

func (s *byteSum) Write(b []byte) (int, error) {
	sum := *s
	for _, c := range b {
		sum += byteSum(c)
	}
	*s = sum
	return len(b), nil
}

// sysV folds the sum as System V's sum(1) does.
func (s fileSum) sysV() uint32 {
	r := uint32(s.sum)&0xffff + uint32(s.sum)>>16
	return r&0xffff + r>>16
}

// tarFiles writes the entries of files to w, without an archive end, and checks every file's size and digest on the
// way: the bytes that go into a package are those that the recipe named, whenever they are read.
func tarFiles(ctx context.Context, w io.Writer, files []*file) ([]fileSum, error) {
	sums := make([]fileSum, 0, len(files))
	tw := tar.NewWriter(w)
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if !f.mode.IsRegular() {
			if err := tw.WriteHeader(tarOther(f)); err != nil {
				return nil, fmt.Errorf("plugin %s: %s: %w", f.plugin, f.path, err)
			}
			continue
		}
		s, err := tarFile(tw, f)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: file %s: %w", f.plugin, f.path, err)
		}
		sums = append(sums, s)
	}
	return sums, tw.Flush()
}

// owned says whose it is. Whoever unpacks goes by the name if the system knows it; preinst sees to that.
func (f *file) owned(h *tar.Header) *tar.Header {
	h.Uname, h.Gname = cmp.Or(f.owner, h.Uname), cmp.Or(f.group, h.Gname)
	return h
}

// tarOther is the header, and all, of a directory or link.
func tarOther(f *file) *tar.Header {
	if f.mode.IsDir() {
		return f.owned(tarHeader("."+strings.TrimSuffix(f.path, "/")+"/", tar.TypeDir, f.mode, 0))
	}
	h := tarHeader("."+f.path, tar.TypeSymlink, f.mode, 0)
	if h.Linkname = f.link; !ustarLink(f.link) {
		h.Format = tar.FormatGNU
	}
	return h
}

func tarFile(tw *tar.Writer, f *file) (fileSum, error) {
	size, err := f.measure()
	if err != nil {
		return fileSum{}, err
	}
	h := f.owned(tarHeader("."+f.path, tar.TypeReg, f.mode, size))
	if err := tw.WriteHeader(h); err != nil {
		return fileSum{}, err
	}
	return copyFile(tw, f, size)
}

// measure is the file's size in bytes, for which it is read if need be: an archive wants it first.
func (f *file) measure() (int64, error) {
	if f.size >= 0 {
		return f.size, nil
	}
	r, err := f.open()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}

// copyFile writes a file's content and checks it against the recipe.
func copyFile(w io.Writer, f *file, size int64) (fileSum, error) {
	r, err := f.open()
	if err != nil {
		return fileSum{}, err
	}
	defer r.Close()
	sha, sum, bytes := sha256.New(), md5.New(), byteSum(0)
	n, err := io.Copy(io.MultiWriter(w, sha, sum, &bytes), io.LimitReader(r, size))
	if err != nil {
		return fileSum{}, err
	}
	// One byte more must not be there, or the file is longer than the recipe says.
	if extra, err := io.CopyN(io.Discard, r, 1); n != size || extra != 0 || err != io.EOF {
		return fileSum{}, fmt.Errorf("has not the %d bytes that the recipe names", size)
	}
	if got := schema.Digest(sha.Sum(nil)); got != f.sum && !f.vouched {
		return fileSum{}, fault.Refuse(fmt.Errorf("has digest %s, the recipe names %s", got, f.sum),
			"its source changed since it was evaluated; run the command again, and `bakehouse upgrade` if it is the host program")
	}
	return fileSum{f.path, size, [md5.Size]byte(sum.Sum(nil)), schema.Digest(sha.Sum(nil)), bytes}, nil
}
