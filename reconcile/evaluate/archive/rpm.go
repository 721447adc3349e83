package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"bakehouse/reconcile/evaluate/archive/stream"
)

// rpmPayload finds the files of an RPM package: behind its head comes a compressed cpio archive.
func rpmPayload(ctx context.Context, r io.ReaderAt, size int64, b bounds) (walker, error) {
	at, err := stream.RPMPayload(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, err
	}
	if at >= size {
		return nil, io.ErrUnexpectedEOF
	}
	in, done, err := inflated(ctx, r, at, size-at, b)
	if err != nil {
		return nil, err
	}
	if head, err := in.Peek(6); err != nil || string(head[:5]) != "07070" {
		done()
		if err != nil {
			return nil, stream.Early(err)
		}
		return nil, errors.New("the payload is no cpio archive that gzip, xz, zstd or bzip2 packed")
	}
	return newCpio(in, done), nil
}

// cpioWalker reads a cpio archive, which is inflated already.
type cpioWalker struct {
	*stream.Cpio
	done func()
}

func newCpio(in *bufio.Reader, done func()) *cpioWalker { return &cpioWalker{stream.NewCpio(in), done} }

func (w *cpioWalker) next() (item, error) {
	m, err := w.Next()
	if err != nil {
		return item{}, err
	}
	it := item{name: m.Name, exec: m.Mode&0o111 != 0}
	switch m.Mode & 0o170000 {
	case 0o100000:
		it.kind = regular
		if m.Links > 1 {
			it.inode = [3]uint32{m.Inode + 1, m.Major, m.Minor} // never zero, but for a last inode that nothing has
		}
	case 0o040000:
		it.kind = directory
	case 0o120000:
		if m.Size > stream.MaxName {
			return item{}, fmt.Errorf("a link of %d bytes", m.Size)
		}
		target, err := io.ReadAll(w)
		if err != nil {
			return item{}, err
		}
		it.kind, it.link = symlink, string(target)
	}
	return it, nil
}

func (w *cpioWalker) close() { w.done() }
