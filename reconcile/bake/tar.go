package bake

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// file is one regular file of a package.
type file struct {
	plugin string
	path   string // absolute and clean
	mode   fs.FileMode
	config bool
	size   int64 // -1: not known before it is read
	sum    schema.Digest
	open   func() (io.ReadCloser, error)
}

// name is the file's name in an archive.
func (f *file) name() string { return "." + f.path }

// epoch is the time of everything in a package. Not zero: GNU tar and lintian complain of files that old.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// tarEnd is the end-of-archive marker.
var tarEnd = make([]byte, 1024)

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

// tarDirs is the entries of all directories that files need, parents first.
func tarDirs(files []*file) ([]byte, int, error) {
	seen := map[string]bool{}
	for _, f := range files {
		for d := path.Dir(f.path); !seen[d]; d = path.Dir(d) {
			seen[d] = true
		}
	}
	dirs := make([]string, 0, len(seen))
	for d := range seen {
		dirs = append(dirs, d)
	}
	slices.Sort(dirs)
	for _, f := range files {
		if seen[f.path] {
			return nil, 0, fmt.Errorf("plugin %s: %s is a file, but another file needs it as a directory", f.plugin, f.path)
		}
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, d := range dirs {
		if err := w.WriteHeader(tarHeader("."+strings.TrimSuffix(d, "/")+"/", tar.TypeDir, 0o755, 0)); err != nil {
			return nil, 0, fmt.Errorf("directory %s: %w", d, err)
		}
	}
	return b.Bytes(), len(dirs), w.Flush()
}

// fileSum is what reading a file yielded.
type fileSum struct {
	path string
	size int64
	md5  [md5.Size]byte
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
		s, err := tarFile(tw, f)
		if err != nil {
			return nil, fmt.Errorf("plugin %s: file %s: %w", f.plugin, f.path, err)
		}
		sums = append(sums, s)
	}
	return sums, tw.Flush()
}

func tarFile(tw *tar.Writer, f *file) (fileSum, error) {
	size := f.size
	if size < 0 {
		r, err := f.open()
		if err != nil {
			return fileSum{}, err
		}
		size, err = io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			return fileSum{}, err
		}
	}
	r, err := f.open()
	if err != nil {
		return fileSum{}, err
	}
	defer r.Close()
	if err := tw.WriteHeader(tarHeader(f.name(), tar.TypeReg, f.mode, size)); err != nil {
		return fileSum{}, err
	}
	sha, sum := sha256.New(), md5.New()
	n, err := io.Copy(io.MultiWriter(tw, sha, sum), io.LimitReader(r, size))
	if err != nil {
		return fileSum{}, err
	}
	// One byte more must not be there, or the file is longer than the recipe says.
	if extra, err := io.CopyN(io.Discard, r, 1); n != size || extra != 0 || err != io.EOF {
		return fileSum{}, fmt.Errorf("has not the %d bytes that the recipe names", size)
	}
	if got := schema.Digest(sha.Sum(nil)); got != f.sum {
		return fileSum{}, schema.Refuse(fmt.Errorf("has digest %s, the recipe names %s", got, f.sum),
			"its source changed since it was evaluated; run the command again, and `bakehouse upgrade` if it is the host program")
	}
	return fileSum{f.path, size, [md5.Size]byte(sum.Sum(nil))}, nil
}
