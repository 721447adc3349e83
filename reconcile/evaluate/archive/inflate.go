package archive

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"context"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

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

// section reads a part of an archive in order, until ctx ends.
func section(ctx context.Context, r io.ReaderAt, from, n int64) *bufio.Reader {
	return bufio.NewReaderSize(&interruptible{ctx, io.NewSectionReader(r, from, n)}, 64<<10)
}

type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := context.Cause(i.ctx); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
