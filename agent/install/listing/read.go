package listing

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
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
)

// Output is what a program prints on stdout.
type Output func(ctx context.Context, program string, args ...string) ([]byte, error)

// Read lists the files and links of a package, in its own order; nothing for a format that it cannot read. Rpm's header
// has the list, and rpm is asked for it.
func Read(ctx context.Context, file string, format schema.Format, output Output) (List, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var l List
	switch format {
	case schema.Tgz:
		l, err = tarEntries(f)
	case schema.Deb:
		var data io.Reader
		if data, err = debData(f); err != nil || data == nil {
			return nil, err
		}
		l, err = tarEntries(data)
	case schema.Rpm:
		l, err = rpmEntries(ctx, file, output)
	}
	return l, err
}

func tarEntries(r io.Reader) (l List, err error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	t := tar.NewReader(io.LimitReader(z, schema.MaxPackage))
	for {
		h, err := t.Next()
		if err == io.EOF {
			return l, nil
		}
		if err != nil {
			return nil, err
		}
		f := File{Path: path.Join("/", h.Name), Mode: fs.FileMode(h.Mode) & fs.ModePerm, Size: h.Size}
		switch h.Typeflag {
		case tar.TypeReg:
			d := sha256.New()
			if _, err := io.Copy(d, t); err != nil {
				return nil, err
			}
			f.Digest = schema.Digest(d.Sum(nil))
		case tar.TypeSymlink:
			f = File{Path: f.Path, Link: h.Linkname}
		default:
			continue
		}
		l = append(l, f)
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

// rpmEntries reads what rpm prints of a package's header, of each file on a line.
func rpmEntries(ctx context.Context, file string, output Output) (l List, err error) {
	out, err := output(ctx, "rpm", "--query", "--package", "--nosignature", "--queryformat",
		"[%{FILEMODES} %{FILESIZES} %{FILEDIGESTS}\t%{FILELINKTOS}\t%{FILENAMES}\n]", file)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3)
		numbers := strings.Split(fields[0], " ")
		if len(fields) != 3 || len(numbers) != 3 || !filepath.IsAbs(fields[2]) {
			return nil, fmt.Errorf("rpm lists %.80q", line)
		}
		mode, merr := strconv.ParseUint(numbers[0], 10, 16)
		size, serr := strconv.ParseInt(numbers[1], 10, 64)
		digest, derr := hex.DecodeString(numbers[2])
		if err := errors.Join(merr, serr, derr); err != nil {
			return nil, fmt.Errorf("rpm lists %.80q: %w", line, err)
		}
		f := File{Path: fields[2], Mode: fs.FileMode(mode) & fs.ModePerm, Size: size}
		switch mode & 0o170000 {
		case 0o100000: // a regular file
			if len(digest) == len(f.Digest) {
				f.Digest = schema.Digest(digest)
			}
		case 0o120000:
			f = File{Path: f.Path, Link: fields[1]}
		default:
			continue
		}
		l = append(l, f)
	}
	return l, nil
}
