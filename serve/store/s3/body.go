package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
