// Package held keeps what a Baker made of segments where only this process can change it: what is hashed there gets
// signed.
package held

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// Spare is how many bytes of segments a Baker keeps in memory, so that the programs which go into every package are
// not read from a file for each: that would be a tenth of what a package takes. A larger segment, and what comes after
// the memory is used up, is in files; how much memory a Baker takes does not depend on the size of packages.
const Spare = 16 << 20

// pageSize is what is held, and read of a file, at once: large, or the calls cost a fifth of the hash.
const pageSize = 256 << 10

var pages = sync.Pool{New: func() any { return new([pageSize]byte) }}

// Bytes are written once, and read as often as need be.
type Bytes struct {
	spare *atomic.Int64 // of the Baker
	pages [][]byte      // all full but the last, and none if there is a file
	file  *os.File
	size  int64
}

// New is empty bytes, which are in memory as long as there is spare.
func New(spare *atomic.Int64) *Bytes { return &Bytes{spare: spare} }

func (p *Bytes) Write(b []byte) (int, error) {
	if p.file == nil && p.spare.Add(-int64(len(b))) < 0 {
		p.spare.Add(int64(len(b)))
		if err := p.spill(); err != nil {
			return 0, err
		}
	}
	if p.file != nil {
		n, err := p.file.Write(b)
		p.size += int64(n)
		return n, err
	}
	p.size += int64(len(b))
	for n := 0; n < len(b); {
		if k := len(p.pages); k == 0 || len(p.pages[k-1]) == pageSize {
			p.pages = append(p.pages, make([]byte, 0, min(pageSize, max(512, len(b)-n))))
		}
		last := &p.pages[len(p.pages)-1]
		more := min(len(b)-n, pageSize-len(*last))
		*last = append(*last, b[n:n+more]...)
		n += more
	}
	return len(b), nil
}

// spill moves what is in memory to a file that nobody else can open and that is gone when the process is.
func (p *Bytes) spill() error {
	f, err := os.CreateTemp("", "bakehouse-segment-*")
	if err != nil {
		return err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return err
	}
	for _, page := range p.pages {
		if _, err := f.Write(page); err != nil {
			f.Close()
			return err
		}
	}
	p.spare.Add(p.size)
	p.file, p.pages = f, nil
	return nil
}

// Close frees them.
func (p *Bytes) Close() error {
	if p.file != nil {
		return p.file.Close()
	}
	p.spare.Add(p.size)
	p.pages, p.size = nil, 0
	return nil
}

// Reader reads them from their beginning.
func (p *Bytes) Reader() io.Reader {
	if p.file != nil {
		return io.NewSectionReader(p.file, 0, p.size)
	}
	all := make([]io.Reader, len(p.pages))
	for i, page := range p.pages {
		all[i] = bytes.NewReader(page)
	}
	return io.MultiReader(all...)
}

// WriteTo implements io.WriterTo.
func (p *Bytes) WriteTo(w io.Writer) (int64, error) { return p.size, p.CopyTo(context.Background(), w) }

// CopyTo writes all of it to w.
func (p *Bytes) CopyTo(ctx context.Context, w io.Writer) error {
	for _, page := range p.pages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := w.Write(page); err != nil {
			return err
		}
	}
	if p.file == nil {
		return nil
	}
	buf := pages.Get().(*[pageSize]byte)
	defer pages.Put(buf)
	// Hidden behind a struct, or io.Copy would find a WriterTo or ReaderFrom and bring its own buffer.
	_, err := io.CopyBuffer(struct{ io.Writer }{w}, reader{ctx, p.Reader()}, buf[:])
	return err
}

// reader ends when its context does.
type reader struct {
	context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}
