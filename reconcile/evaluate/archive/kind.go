package archive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"errors"
	"io"

	"bakehouse/reconcile/evaluate/archive/stream"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxDictionary bounds what xz and zstd may remember of what they wrote, in bytes: `xz -9` takes 64 MiB, `zstd --ultra
// -22` 128 MiB.
const maxDictionary = 128 << 20

var errUnknown = errors.New("is no archive of a known kind: tar (plain, gzip, xz, zstd, bzip2), zip, deb, rpm")

// open finds out what an archive is.
func open(ctx context.Context, r io.ReaderAt, size int64, b bounds) (what string, w walker, err error) {
	head := make([]byte, 8)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", nil, err
	}
	switch head = head[:n]; {
	case bytes.HasPrefix(head, []byte(stream.ArMagic)):
		from, length, err := debData(r, size)
		if err != nil {
			return "", nil, wrong("deb", err)
		}
		w, err := tarIn(ctx, r, from, length, b)
		if err != nil {
			return "", nil, wrong("deb", err)
		}
		return "deb", w, nil
	case bytes.HasPrefix(head, []byte(stream.RPMMagic)):
		w, err := rpmPayload(ctx, r, size, b)
		if err != nil {
			return "", nil, wrong("rpm", err)
		}
		return "rpm", w, nil
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		w, err := newZip(ctx, r, size, b)
		if err != nil {
			return "", nil, wrong("zip", err)
		}
		return "zip", w, nil
	}
	w, err = tarIn(ctx, r, 0, size, b)
	return "tar", w, err
}

// inflate undoes the compression that in begins with, if any; done frees what that took.
func inflate(in *bufio.Reader) (r io.Reader, done func(), err error) {
	done = func() {}
	head, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\x1f\x8b")):
		r, err = gzip.NewReader(in)
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		r, err = xz.NewReader(bufio.NewReader(&xzGuard{in: in}))
	case bytes.HasPrefix(head, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxDictionary))
		if err == nil {
			r, done = z, z.Close
		}
	case bytes.HasPrefix(head, []byte("BZh")):
		r = bzip2.NewReader(in)
	default:
		r, err = in, nil
	}
	return r, done, err
}

// inflated is a part of an archive, inflated.
func inflated(ctx context.Context, r io.ReaderAt, from, n int64, b bounds) (*bufio.Reader, func(), error) {
	z, done, err := inflate(section(ctx, r, from, n))
	if err != nil {
		return nil, nil, err
	}
	left := &budget{left: b.Inflated}
	return bufio.NewReaderSize(left.reader(z), 64<<10), done, nil
}

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
	it := item{name: h.Name, link: h.Linkname}
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
