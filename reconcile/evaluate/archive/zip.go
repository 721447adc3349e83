package archive

import (
	"archive/zip"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"

	"bakehouse/reconcile/evaluate/archive/stream"
)

// listing reads so many bytes and no more: the whole directory of a zip is read at once, and every 46 bytes of it take
// several times as much memory.
type listing struct {
	r    io.ReaderAt
	left int64
}

func (l *listing) ReadAt(p []byte, at int64) (int, error) {
	n, err := l.r.ReadAt(p, at)
	if l.left -= int64(n); l.left < 0 {
		return 0, errors.New("its directory is too large")
	}
	return n, err
}

type zipWalker struct {
	ctx   context.Context
	files []*zip.File
	now   io.ReadCloser
}

func newZip(ctx context.Context, r io.ReaderAt, size int64, b bounds) (walker, error) {
	list := &listing{r, int64(b.Names) / 2}
	z, err := zip.NewReader(list, size)
	if err != nil {
		return nil, err
	}
	list.left = math.MaxInt64 // what follows are members
	return &zipWalker{ctx: ctx, files: z.File}, nil
}

func (w *zipWalker) next() (item, error) {
	w.close()
	if len(w.files) == 0 {
		return item{}, io.EOF
	}
	f := w.files[0]
	w.files = w.files[1:]
	it := item{name: f.Name, exec: f.Mode()&0o111 != 0}
	switch mode := f.Mode(); mode.Type() {
	case fs.ModeDir:
		it.kind = directory
		return it, nil
	case fs.ModeSymlink:
		it.kind = symlink
	case 0:
		it.kind = regular
	default:
		return it, nil
	}
	var err error
	if w.now, err = f.Open(); err != nil {
		return item{}, err
	}
	if it.kind == symlink {
		target, err := io.ReadAll(io.LimitReader(w.now, stream.MaxName))
		if err != nil {
			return item{}, err
		}
		it.link = string(target)
	}
	return it, nil
}

func (w *zipWalker) Read(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	if w.now == nil {
		return 0, io.EOF
	}
	return w.now.Read(p)
}

func (w *zipWalker) close() {
	if w.now != nil {
		w.now.Close()
		w.now = nil
	}
}
