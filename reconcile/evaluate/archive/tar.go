package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
)

var errUnknown = errors.New("is no archive of a known kind: tar (plain, gzip, xz, zstd, bzip2), zip, deb, rpm")

type tarWalker struct {
	*tar.Reader
	done func()
}

func tarIn(ctx context.Context, r io.ReaderAt, from, n int64, b bounds) (walker, error) {
	in, done, err := inflated(ctx, r, from, n, b)
	if err != nil {
		return nil, err
	}
	head, err := in.Peek(512)
	if err != nil && err != io.EOF {
		done()
		return nil, err
	}
	if !isTar(head) {
		done()
		return nil, errUnknown
	}
	return &tarWalker{tar.NewReader(in), done}, nil
}

// isTar reports whether a first block is a header with its checksum, or the end of an empty archive.
func isTar(block []byte) bool {
	if len(block) != 512 {
		return false
	}
	const from, to = 148, 156
	sum, is := int64(8*' '), int64(0)
	for i, c := range block {
		if i < from || i >= to {
			sum += int64(c)
		}
	}
	for _, c := range bytes.Trim(block[from:to], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		is = is*8 + int64(c-'0')
	}
	return is == sum || bytes.Count(block, []byte{0}) == len(block)
}

func (w *tarWalker) next() (item, error) {
	h, err := w.Next()
	if err != nil {
		return item{}, err
	}
	it := item{name: h.Name, link: h.Linkname, exec: h.Mode&0o111 != 0}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		it.kind = regular
	case tar.TypeDir:
		it.kind = directory
	case tar.TypeSymlink:
		it.kind = symlink
	case tar.TypeLink:
		it.kind = hardlink
	case tar.TypeXGlobalHeader:
		it.name = ""
	}
	return it, nil
}

func (w *tarWalker) close() { w.done() }
