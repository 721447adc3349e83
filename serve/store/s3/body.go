package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/minio/minio-go/v7"
)

// dateKey is of a *time.Time in a context that is set to the date of the answer.
type dateKey struct{}

// clock notes the date of answers.
type clock struct{ http.RoundTripper }

func (c clock) RoundTrip(r *http.Request) (*http.Response, error) {
	x, err := c.RoundTripper.RoundTrip(r)
	if to, ok := r.Context().Value(dateKey{}).(*time.Time); ok && err == nil {
		if at, err := http.ParseTime(x.Header.Get("Date")); err == nil {
			*to = at
		}
	}
	return x, err
}

// body reads an object. One that is cut or stalls goes on with another request, if it is still the same object.
type body struct {
	store   *Store
	ctx     context.Context
	key     string
	at, end int64 // end is 0 for all
	etag    string
	tries   int

	r      io.ReadCloser
	cancel context.CancelFunc
	left   int64 // bytes that r still has to yield
}

// request opens r from at on.
func (b *body) request() error {
	var o minio.GetObjectOptions
	if b.at > 0 || b.end > 0 {
		if err := o.SetRange(b.at, max(b.end-1, 0)); err != nil {
			return err
		}
	}
	if b.etag != "" {
		if err := o.SetMatchETag(b.etag); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	begin := time.AfterFunc(b.store.limits.Call, cancel)
	r, info, _, err := b.store.client.GetObject(ctx, b.store.place.bucket, b.store.object(b.key), o)
	if !begin.Stop() {
		if err == nil {
			r.Close()
		}
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		return b.store.wrap("open", b.key, err)
	}
	b.r, b.cancel, b.etag, b.left = r, cancel, info.ETag, info.Size
	return nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for {
		stall := time.AfterFunc(b.store.limits.Stall, b.cancel)
		n, err := b.r.Read(p)
		stalled := !stall.Stop()
		b.at, b.left = b.at+int64(n), b.left-int64(n)
		if errors.Is(err, io.EOF) && b.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return n, err
		case b.ctx.Err() != nil:
			return n, b.ctx.Err()
		case n > 0:
			return n, nil // the next call meets the error again
		}
		if stalled {
			err = fmt.Errorf("no byte came for %s", b.store.limits.Stall)
		}
		if b.tries++; b.tries == retries || b.left <= 0 {
			return 0, b.store.wrap("read", b.key, err)
		}
		_ = b.Close()
		if again := b.request(); again != nil {
			return 0, errors.Join(b.store.wrap("read", b.key, err), again)
		}
	}
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.cancel()
	return b.r.Close()
}

// inMemory is how much of an object to be created is kept in memory; more goes into a file for the time being.
const inMemory = 1 << 20

// spooled is the content of an object to be created.
type spooled struct {
	at   io.ReaderAt
	size int64
	sum  string // SHA-256 in hexadecimal digits
	file *os.File
}

func (s *spooled) reader() *io.SectionReader { return io.NewSectionReader(s.at, 0, s.size) }

func (s *spooled) close() {
	if s.file != nil {
		_ = s.file.Close()
	}
}

// spool reads r to its end.
func spool(ctx context.Context, r io.Reader) (*spooled, error) {
	s := &spooled{}
	h := sha256.New()
	r = io.TeeReader(contextReader{ctx, r}, h)
	head, err := io.ReadAll(io.LimitReader(r, inMemory))
	s.at, s.size = bytes.NewReader(head), int64(len(head))
	if err == nil && s.size == inMemory {
		err = s.spill(head, r)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.sum = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

// spill goes on in a file, which is for this user only and has no name.
func (s *spooled) spill(head []byte, r io.Reader) (err error) {
	if s.file, err = os.CreateTemp("", "bakehouse-*"); err != nil {
		return err
	}
	if err := os.Remove(s.file.Name()); err != nil {
		return err
	}
	if _, err := s.file.Write(head); err != nil {
		return err
	}
	n, err := io.Copy(s.file, r)
	s.at, s.size = s.file, s.size+n
	return err
}

// contextReader stops a long Create when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}
