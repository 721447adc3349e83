// Package remote is a store behind a running `bakehouse serve`: what CI publishes through when it can reach neither the
// store's directory nor its bucket. It asks as a user with the permission publish.
//
// The server is trusted with what the store is: to keep what it took. Whoever reads checks every byte, as with every
// store, and the server checks what it can of what it is sent (package publishing). An object is one PUT with
// If-None-Match and its digest. When an answer is lost, what is there then is read back and compared. A server that is
// away for a moment, because it is started again or overloaded, is asked again until it is given up.
//
// Nothing is deleted this way: gc runs at the server.
package remote

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/store"
	"bakehouse/serve/store/lease"
	"bakehouse/serve/store/spool"
)

const (
	bigBody   = 256 << 10 // from here on the server is asked first whether it wants the body
	slowest   = 32 << 10  // bytes a second that an upload is given time for
	maxAnswer = 64 << 10  // bytes of an answer that is neither an object nor a listing
)

// Store implements store.Store.
type Store struct {
	place  *place
	client *http.Client
	limits Limits
}

// Open opens the store behind the server at an https:// location. Nothing is asked of it yet.
func Open(location string) (*Store, error) { return OpenWithin(location, DefaultLimits) }

// OpenWithin is Open with other limits.
func OpenWithin(location string, limits Limits) (*Store, error) {
	p, err := parse(location)
	if err != nil {
		return nil, err
	}
	return &Store{place: p, client: p.client(limits), limits: limits}, nil
}

// call is one request.
type call struct {
	method, path string
	header       http.Header
	body         *spool.Spool // nil: none
}

// errAway is of a server that does not answer, or not now; wait is what it asks for.
type errAway struct {
	err  error
	wait time.Duration
}

func (e *errAway) Error() string { return e.err.Error() }
func (e *errAway) Unwrap() error { return e.err }

// do asks until there is an answer that is one. Its body is open if its status is 200, 201 or 206; of others it is the
// error. again is whether it was asked before.
func (s *Store) do(ctx context.Context, c call) (res *http.Response, again bool, err error) {
	deadline := time.Now().Add(s.limits.Away)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		res, err = s.once(ctx, c)
		away := (*errAway)(nil)
		if err == nil || ctx.Err() != nil || !errors.As(err, &away) || time.Now().After(deadline) {
			if ctx.Err() != nil && err != nil {
				err = ctx.Err()
			}
			return res, again, err
		}
		again = true
		pause := max(wait/2+rand.N(wait), min(away.wait, 10*time.Second))
		select {
		case <-ctx.Done():
			return nil, again, ctx.Err()
		case <-time.After(pause):
		}
	}
}

func (s *Store) once(ctx context.Context, c call) (*http.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, c.method, s.place.url+c.path, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	req.SetBasicAuth(s.place.user, s.place.password)
	limit := s.limits.Header
	if c.body != nil {
		req.ContentLength = c.body.Size
		req.Body = http.NoBody
		if c.body.Size > 0 {
			req.Body = io.NopCloser(c.body.Reader())
		}
		if c.body.Size >= bigBody {
			req.Header.Set("Expect", "100-continue")
		}
		limit += time.Duration(c.body.Size/slowest) * time.Second
	}
	begin := time.AfterFunc(limit, cancel)
	res, err := s.client.Do(req)
	if !begin.Stop() && err == nil {
		res.Body.Close()
		err = context.DeadlineExceeded
	}
	if err != nil {
		cancel()
		if urlErr := (*url.Error)(nil); errors.As(err, &urlErr) {
			err = urlErr.Err // without the URL, which each message has
		}
		return nil, s.unreached(err)
	}
	res.Body = &body{res.Body, cancel}
	switch res.StatusCode {
	case http.StatusOK, http.StatusCreated, http.StatusPartialContent:
		if res.Header.Get(Header) == Version {
			return res, nil
		}
	}
	defer res.Body.Close()
	return nil, s.refused(c, res)
}

// body ends its request's context with it.
type body struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (b *body) Close() error {
	b.cancel()
	return b.ReadCloser.Close()
}

// unreached is why there is no answer.
func (s *Store) unreached(err error) error {
	err = fmt.Errorf("server %s: %w", s.place.url, err)
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	switch {
	case errors.As(err, &unknown):
		return fault.Hint(err, "name the authority that signed the server's certificate with ca=FILE, PEM")
	case errors.As(err, &name):
		return fault.Hint(err, "call the server by a name that is in its certificate")
	}
	return &errAway{err: fault.Hint(err,
		"check that the server runs and can be reached from here; nothing is damaged, and it can be run again")}
}

// refused is an answer that is none.
func (s *Store) refused(c call, res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	var p schema.Problem
	if schema.Decode(b, &p) != nil || p.Error == "" {
		p = schema.Problem{Error: "it answered " + plain.Lines(res.Status, 100)}
	}
	err := fmt.Errorf("server %s: %s", s.place.url, plain.Lines(p.Error, plain.MaxError))
	ours := res.Header.Get(Header) == Version
	switch {
	case ours && res.StatusCode == http.StatusNotFound:
		return fs.ErrNotExist
	case ours && res.StatusCode == http.StatusPreconditionFailed && c.method == http.MethodPut:
		return fs.ErrExist
	case res.StatusCode == http.StatusNotFound || !ours && res.StatusCode < 300:
		return fault.Hint(fmt.Errorf("server %s offers no store", s.place.url),
			"is that the URL of a Bakehouse server of this version?")
	}
	if hint := plain.Lines(p.Hint, plain.MaxError); hint != "" {
		err = fault.Hint(err, "%s", hint)
	}
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		http.StatusRequestTimeout:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return &errAway{err, time.Duration(max(seconds, 0)) * time.Second}
	}
	return err
}

// said says what failed on which key.
func said(what, key string, err error) error { return fmt.Errorf("store: %s %s: %w", what, key, err) }

// Open implements store.Store.
func (s *Store) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return s.open(ctx, key, 0, 0)
}

// OpenRange implements store.Store.
func (s *Store) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return s.open(ctx, key, offset, offset+length)
}

// open reads from offset to end, which is 0 for all.
func (s *Store) open(ctx context.Context, key string, offset, end int64) (io.ReadCloser, error) {
	if err := errors.Join(schema.CheckKey(key), ctx.Err()); err != nil {
		return nil, err
	}
	o := &object{store: s, ctx: ctx, key: key, at: offset, end: end}
	if err := o.request(); err != nil {
		return nil, said("open", key, err)
	}
	return o, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Entry, error) {
	if err := errors.Join(schema.CheckKey(key), ctx.Err()); err != nil {
		return store.Entry{}, err
	}
	res, _, err := s.do(ctx, call{method: http.MethodHead, path: ObjectsPath + key})
	if err != nil {
		return store.Entry{}, said("stat", key, err)
	}
	res.Body.Close()
	at, _ := http.ParseTime(res.Header.Get("Last-Modified"))
	return store.Entry{Key: key, Size: res.ContentLength, Time: at}, nil
}

// Create implements store.Store. An object that is there after an answer was lost, with the same bytes, counts as
// created: it was made by this call, or by one that wanted the same.
func (s *Store) Create(ctx context.Context, key string, r io.Reader) error {
	if err := errors.Join(schema.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	b, err := spool.Read(ctx, r)
	if err != nil {
		return said("create", key, err)
	}
	defer b.Close()
	h := http.Header{"If-None-Match": {"*"}, "Content-Type": {"application/octet-stream"}}
	SetDigest(h, b.SHA256)
	res, again, err := s.do(ctx, call{method: http.MethodPut, path: ObjectsPath + key, header: h, body: b})
	if err == nil {
		res.Body.Close()
		return nil
	}
	if again && errors.Is(err, fs.ErrExist) {
		if same, look := s.has(ctx, key, b); look != nil {
			err = look
		} else if same {
			return nil
		}
	}
	return said("create", key, err)
}

// has reports whether the object of that key has these bytes.
func (s *Store) has(ctx context.Context, key string, b *spool.Spool) (bool, error) {
	r, err := s.Open(ctx, key)
	if err != nil {
		return false, err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(r, b.Size+1))
	return n == b.Size && schema.Digest(h.Sum(nil)) == b.SHA256, err
}

// answer reads the JSON that a path answers, again if it is cut.
func (s *Store) answer(ctx context.Context, path string, limit int64, out any) (err error) {
	for range retries {
		var b []byte
		if b, err = s.read(ctx, path, limit); ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = schema.Decode(b, out)
			break
		}
		if cut := (*errCut)(nil); !errors.As(err, &cut) {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("server %s: %w", s.place.url, err)
	}
	return nil
}

// errCut is of an answer that did not come to its end.
type errCut struct{ error }

func (e *errCut) Unwrap() error { return e.error }

func (s *Store) read(ctx context.Context, path string, limit int64) ([]byte, error) {
	res, _, err := s.do(ctx, call{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	stall := time.AfterFunc(s.limits.Stall, res.Body.(*body).cancel)
	defer stall.Stop()
	b, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, &errCut{err}
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("server %s: the answer is longer than %d bytes", s.place.url, limit)
	}
	return b, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for more := true; more; {
			var page Listing
			err := ctx.Err()
			if err == nil {
				q := url.Values{"prefix": {prefix}, "after": {after}}
				err = s.answer(ctx, ListPath+"?"+q.Encode(), MaxListing, &page)
			}
			if err != nil {
				yield(store.Entry{}, said("list", prefix, err))
				return
			}
			for _, e := range page.Entries {
				// Whoever lists relies on the order, and on each key coming once.
				if e.Key <= after || !strings.HasPrefix(e.Key, prefix) || schema.CheckKey(e.Key) != nil || e.Size < 0 {
					yield(store.Entry{}, said("list", prefix,
						fmt.Errorf("server %s listed what was not asked for", s.place.url)))
					return
				}
				after = e.Key
				if !yield(store.Entry{Key: e.Key, Size: e.Size, Time: e.Time}, nil) {
					return
				}
			}
			more = page.More && len(page.Entries) > 0
		}
	}
}

// DeleteBatch implements store.Store: it refuses.
func (s *Store) DeleteBatch(_ context.Context, keys []string) error {
	for _, key := range keys {
		if err := schema.CheckKey(key); err != nil {
			return err
		}
	}
	return fault.Hint(fmt.Errorf("store: nothing is deleted through server %s", s.place.url),
		"run bakehouse store gc where the server's store is")
}

// Strays implements store.Store.
func (s *Store) Strays(ctx context.Context) ([]string, error) {
	var found Strays
	if err := s.answer(ctx, StraysPath, MaxListing, &found); err != nil {
		return nil, said("list", "", err)
	}
	for i, path := range found.Paths {
		found.Paths[i] = plain.Line(path, 400)
	}
	return found.Paths, nil
}

// Now implements store.Store.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var clock Clock
	if err := s.answer(ctx, NowPath, maxAnswer, &clock); err != nil {
		return time.Time{}, said("ask for", "the time", err)
	}
	return clock.Now, nil
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, purpose string) (store.Lock, error) {
	l, err := lease.Take(ctx, s, s.place.url, purpose)
	if err != nil {
		return nil, err
	}
	return l, nil
}
