package archive

import (
	"archive/zip"
	"context"
	"io"
	"io/fs"
)

type zipWalker struct {
	ctx   context.Context
	files []*zip.File
	now   io.ReadCloser
}

func newZip(ctx context.Context, r io.ReaderAt, size int64, b bounds) (walker, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	return &zipWalker{ctx: ctx, files: z.File}, nil
}

func (w *zipWalker) next() (item, error) {
	w.close()
	if len(w.files) == 0 {
		return item{}, io.EOF
	}
	f := w.files[0]
	w.files = w.files[1:]
	it := item{name: f.Name}
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
		target, err := io.ReadAll(io.LimitReader(w.now, maxName))
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
