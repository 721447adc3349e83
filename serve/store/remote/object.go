package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// object reads one. If it is cut or stalls, it goes on with another request: an object never changes.
type object struct {
	store   *Store
	ctx     context.Context
	key     string
	at, end int64 // end is 0 for all
	tries   int

	res  *http.Response
	left int64 // bytes that it still has to yield
}

// retries are how often reading an object begins in all, between two bytes that come.
const retries = 4

// request opens it from at on.
func (o *object) request() error {
	c := call{method: http.MethodGet, path: ObjectsPath + o.key}
	want := http.StatusOK
	if o.at > 0 || o.end > 0 {
		last := ""
		if o.end > 0 {
			last = strconv.FormatInt(o.end-1, 10)
		}
		c.header, want = http.Header{"Range": {fmt.Sprintf("bytes=%d-%s", o.at, last)}}, http.StatusPartialContent
	}
	res, _, err := o.store.do(o.ctx, c)
	if err != nil {
		return err
	}
	if res.StatusCode != want || res.ContentLength < 0 {
		res.Body.Close()
		return fmt.Errorf("server %s answered with another part of the object than was asked for", o.store.place.url)
	}
	o.res, o.left = res, res.ContentLength
	return nil
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	for {
		stall := time.AfterFunc(o.store.limits.Stall, o.res.Body.(*body).cancel)
		n, err := o.res.Body.Read(p)
		stalled := !stall.Stop()
		o.at, o.left = o.at+int64(n), o.left-int64(n)
		if errors.Is(err, io.EOF) && o.left > 0 {
			err = io.ErrUnexpectedEOF
		}
		switch {
		case err == nil, errors.Is(err, io.EOF):
			return n, err
		case o.ctx.Err() != nil:
			return n, o.ctx.Err()
		case n > 0:
			o.tries = 0
			return n, nil // the next call meets the error again
		}
		if stalled {
			err = fmt.Errorf("no byte came for %s", o.store.limits.Stall)
		}
		if o.tries++; o.tries == retries || o.left <= 0 {
			return 0, said("read", o.key, err)
		}
		o.res.Body.Close()
		if again := o.request(); again != nil {
			return 0, said("read", o.key, errors.Join(err, again))
		}
	}
}

// Close implements io.Closer.
func (o *object) Close() error { return o.res.Body.Close() }
