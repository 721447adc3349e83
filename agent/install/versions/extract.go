package versions

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"bakehouse/agent/install/listing"
	"bakehouse/agent/install/ready"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// limits bound what an archive may unpack to: its signature says that it is ours, not that its baker made no mistake.
type limits struct {
	bytes   int64
	entries int
	name    int // bytes of a path
}

var defaultLimits = limits{bytes: 8 << 30, entries: 65536, name: 1024}

// extract unpacks a gzipped tar into x's directory, which is empty, and lists what it has. Every write goes through
// os.Root, so no entry can leave it, whatever its name and whatever links came before it. Refused outright: names with
// "..", control characters or twice the same path, devices and other special files, set-id bits, relative links that
// point out of the tree, and more than the limits allow. An absolute link is a file of the host: what it leads to is
// the host's, too.
func (x *extraction) extract(ctx context.Context, r io.Reader) (listing.List, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, refuseArchive("", err)
	}
	x.left, x.files, x.dirs = x.lim.bytes, map[string]bool{}, map[string]bool{".": true}
	t := tar.NewReader(&io.LimitedReader{R: z, N: x.lim.bytes + int64(x.lim.entries)*4096})
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, refuseArchive("", err)
		}
		if err := x.entry(h, t); err != nil {
			return nil, refuseArchive(h.Name, err)
		}
	}
	// The gzip checksum stands behind the tar's end.
	if _, err := io.Copy(io.Discard, io.LimitReader(z, 1<<20)); err != nil {
		return nil, refuseArchive("", err)
	}
	if len(x.files) == 0 {
		return nil, refuseArchive("", errors.New("it has no files"))
	}
	return x.list, x.part()
}

func refuseArchive(name string, err error) error {
	if errors.As(err, new(*ready.FullError)) {
		return err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) && !strings.Contains(err.Error(), "escapes") {
		return fmt.Errorf("unpacking %.200q: %w", name, err) // disk full, no permission: not the archive's fault
	}
	if name != "" {
		err = fmt.Errorf("archive entry %.200q: %w", name, err)
	} else {
		err = fmt.Errorf("archive: %w", err)
	}
	return fault.Refuse(err,
		"the package is signed but malformed: bake it again with a current bakehouse and report this")
}

type extraction struct {
	dir     *os.Root
	lim     limits
	room    func(need int64) error // for bytes more than there are yet; nil: any number
	present present                // the version that runs; what is the same there is linked

	left   int64
	wrote  int64 // bytes of files that are not linked
	count  int
	files  map[string]bool
	dirs   map[string]bool
	linked []string
	list   listing.List
}

func (x *extraction) entry(h *tar.Header, r io.Reader) error {
	if x.count++; x.count > x.lim.entries {
		return fmt.Errorf("more than %d entries", x.lim.entries)
	}
	name, err := cleanName(h.Name, x.lim.name)
	if err != nil {
		return err
	}
	if h.Mode&0o7000 != 0 {
		return fmt.Errorf("mode %o has a set-id or sticky bit", h.Mode)
	}
	mode := fs.FileMode(h.Mode) & fs.ModePerm
	if h.Typeflag == tar.TypeDir {
		if err := x.mkdir(name); err != nil {
			return err
		}
		return x.dir.Chmod(name, mode|0o700)
	}
	if name == "." {
		return errors.New("is not a directory")
	}
	if err := x.mkdir(path.Dir(name)); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		err = x.file(name, mode, h.Size, r)
	case tar.TypeSymlink:
		x.list = append(x.list, listing.File{Path: "/" + name, Link: h.Linkname})
		if !path.IsAbs(h.Linkname) && !local(path.Join(path.Dir(name), h.Linkname)) {
			return fmt.Errorf("links to %.200q, outside of the tree", h.Linkname)
		}
		err = x.dir.Symlink(h.Linkname, name)
	case tar.TypeLink:
		var to string
		if to, err = cleanName(h.Linkname, x.lim.name); err != nil {
			return fmt.Errorf("hard link: %w", err)
		}
		if !x.files[to] {
			return fmt.Errorf("hard link to %.200q, which is not an earlier entry", h.Linkname)
		}
		err = x.dir.Link(to, name)
	default:
		return fmt.Errorf("invalid type %q: want file, directory or link", h.Typeflag)
	}
	if errors.Is(err, fs.ErrExist) {
		return errors.New("is in the archive twice")
	}
	if err == nil {
		x.files[name] = true
	}
	return err
}

func (x *extraction) mkdir(name string) error {
	if err := x.dir.MkdirAll(name, 0o755); err != nil {
		return err
	}
	for d := name; d != "."; d = path.Dir(d) {
		x.dirs[d] = true
	}
	return nil
}

func (x *extraction) file(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if size < 0 || size > x.left {
		return fmt.Errorf("unpacks to more than %d bytes in all", x.lim.bytes)
	}
	x.left -= size
	sum := sha256.New()
	r = io.TeeReader(r, sum)
	old, same, err := x.present.same(name, mode, size, &r)
	if old != nil {
		defer old.Close()
	}
	switch {
	case err != nil:
	case same:
		err = x.link(name, mode, size, old)
	default:
		err = x.write(name, mode, size, r)
	}
	x.list = append(x.list, listing.File{Path: "/" + name, Mode: mode, Size: size, Digest: schema.Digest(sum.Sum(nil))})
	return err
}

func (x *extraction) write(name string, mode fs.FileMode, size int64, r io.Reader) error {
	if x.wrote += size; x.room != nil {
		if err := x.room(x.wrote); err != nil {
			return err
		}
	}
	f, err := x.dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	return errors.Join(err, f.Close())
}

// cleanName turns an entry's name into a local path, "." for the top.
func cleanName(s string, limit int) (string, error) {
	if len(s) > limit {
		return "", fmt.Errorf("its name is longer than %d bytes", limit)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' || r == 0xfffd }) {
		return "", errors.New("its name has control characters or backslashes")
	}
	if slices.Contains(strings.Split(s, "/"), "..") {
		return "", errors.New("its name points outside of the tree")
	}
	name := path.Clean(strings.TrimSuffix(s, "/"))
	if s == "" || !local(name) {
		return "", errors.New("its name points outside of the tree")
	}
	return name, nil
}

// local reports whether a cleaned path stays below where it starts.
func local(p string) bool {
	return p != ".." && !strings.HasPrefix(p, "../") && !path.IsAbs(p)
}
