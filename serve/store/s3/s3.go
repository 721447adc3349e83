// Package s3 is a store in a bucket of a server that speaks S3 and has conditional writes.
//
// An object is one PUT with If-None-Match, never a multipart upload, which servers do not make exclusive. With it goes
// a nonce: when an answer is lost, or a repetition is told that there is an object, the nonce that is there says whose
// it is. What is sent is signed with its digest; what is read is checked by whoever reads, as with every store.
package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/lease"
	"bakehouse/serve/store/spool"
)

const (
	nonceName = "Bakehouse-Nonce" // of the metadata of an object
	probeName = ".probe"          // of the object that conditional writes are tried on
	page      = 1000              // of a listing, and of a deletion
	bigBody   = 256 << 10         // from here on a look is cheaper than sending what may be there
	slowest   = 32 << 10          // bytes a second that an upload is given time for
)

// Store implements store.Store.
type Store struct {
	location string
	place    *place
	client   *minio.Core
	limits   Limits

	probing sync.Mutex
	probed  bool
}

// Open opens the store at an s3:// location. Nothing is asked of the server yet.
func Open(location string) (*Store, error) { return OpenWithin(location, DefaultLimits) }

// OpenWithin is Open with other limits.
func OpenWithin(location string, limits Limits) (*Store, error) {
	p, err := parse(location)
	if err != nil {
		return nil, err
	}
	client, err := p.client(limits)
	if err != nil {
		return nil, err
	}
	return &Store{location: location, place: p, client: client, limits: limits}, nil
}

func (s *Store) object(key string) string { return s.place.prefix + key }

// call is the context of a call without a body.
func (s *Store) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.limits.Call)
}

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
	b := &body{store: s, ctx: ctx, key: key, at: offset, end: end}
	if err := b.request(); err != nil {
		return nil, err
	}
	return b, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, key string) (store.Entry, error) {
	if err := schema.CheckKey(key); err != nil {
		return store.Entry{}, err
	}
	info, err := s.stat(ctx, key)
	if err != nil {
		return store.Entry{}, s.wrap("stat", key, err)
	}
	return store.Entry{Key: key, Size: info.Size, Time: info.LastModified}, nil
}

func (s *Store) stat(ctx context.Context, name string) (minio.ObjectInfo, error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	return s.client.StatObject(ctx, s.place.bucket, s.object(name), minio.StatObjectOptions{})
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, r io.Reader) error {
	if err := errors.Join(schema.CheckKey(key), ctx.Err()); err != nil {
		return err
	}
	b, err := spool.Read(ctx, r) // the size must be known, and its reader may fail
	if err != nil {
		return fmt.Errorf("store: create %s: %w", key, err)
	}
	defer b.Close()
	if err := s.probe(ctx); err != nil {
		return err
	}
	if b.Size >= bigBody {
		if _, err := s.stat(ctx, key); err == nil {
			return fmt.Errorf("store: create %s: %w", key, fs.ErrExist)
		}
	}
	if err := s.settled(ctx, key, b); err != nil {
		return s.wrap("create", key, err)
	}
	return nil
}

// settled puts an object that is not there, and finds out whose it is if the answer does not say so.
func (s *Store) settled(ctx context.Context, name string, b *spool.Spool) error {
	nonce := rand.Text()
	for range retries {
		err := s.put(ctx, name, b, nonce)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		answer := minio.ToErrorResponse(err)
		if refused(answer) {
			return err
		}
		info, look := s.stat(ctx, name)
		switch {
		case look == nil && info.UserMetadata[nonceName] == nonce:
			return nil
		case look == nil:
			return fs.ErrExist
		case minio.ToErrorResponse(look).StatusCode != http.StatusNotFound:
			return errors.Join(err, look)
		case answer.StatusCode != http.StatusConflict && answer.StatusCode != http.StatusPreconditionFailed:
			return err
		}
		// There was one that is gone, or one came at the same time and failed: again.
	}
	return errors.New("the server says that there is an object, and that there is none")
}

// refused reports whether the server answered that it will not, so that nothing was done.
func refused(answer minio.ErrorResponse) bool {
	switch answer.StatusCode {
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestTimeout:
		return false
	}
	return answer.StatusCode >= 400 && answer.StatusCode < 500 || answer.StatusCode == http.StatusNotImplemented
}

func (s *Store) put(ctx context.Context, name string, b *spool.Spool, nonce string) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Call+time.Duration(b.Size/slowest)*time.Second)
	defer cancel()
	o := minio.PutObjectOptions{DisableMultipart: true, DisableContentSha256: true,
		UserMetadata: map[string]string{nonceName: nonce}}
	o.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.place.bucket, s.object(name), b.Reader(), b.Size, "", b.SHA256.Hex(), o)
	return err
}

// probe refuses a server that would replace objects, or that forgets whose they are. It is asked once, before the first
// write, as who only reads may not be allowed to write.
func (s *Store) probe(ctx context.Context) error {
	s.probing.Lock()
	defer s.probing.Unlock()
	if s.probed {
		return nil
	}
	b, err := spool.Read(ctx, strings.NewReader("bakehouse tries conditional writes on this object"))
	if err != nil {
		return err
	}
	defer b.Close()
	// With a nonce of its own each time, the second is only told that there is one if it is refused.
	for range 2 {
		if err = s.settled(ctx, probeName, b); err != nil {
			break
		}
	}
	if err == nil || minio.ToErrorResponse(err).StatusCode == http.StatusNotImplemented {
		return fault.Hint(fmt.Errorf("store %s: the server has no conditional writes (PUT with If-None-Match), so two "+
			"that publish at a time would replace each other's objects", s.location),
			"use a server that has them, such as AWS, MinIO or versitygw; or a directory")
	}
	if !errors.Is(err, fs.ErrExist) {
		return s.wrap("create", probeName, err)
	}
	info, err := s.stat(ctx, probeName)
	if err != nil {
		return s.wrap("stat", probeName, err)
	}
	if info.UserMetadata[nonceName] == "" {
		return fault.Hint(fmt.Errorf("store %s: the server does not keep the metadata of objects (x-amz-meta-...)",
			s.location), "use another server; or remove %s%s if it was copied here", s.place.prefix, probeName)
	}
	s.probed = true
	return nil
}

// List implements store.Store. Objects whose name is no key are passed over; fsck mentions them.
func (s *Store) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for o, err := range s.names(ctx, prefix, after) {
			switch {
			case err != nil:
				yield(store.Entry{}, s.wrap("list", prefix, err))
				return
			case schema.CheckKey(o.Key) != nil:
			case !yield(store.Entry{Key: o.Key, Size: o.Size, Time: o.LastModified}, nil):
				return
			}
		}
	}
}

// names yields all objects below the store's prefix, named from there on, a page at a time so that each has a deadline.
func (s *Store) names(ctx context.Context, prefix, after string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		owner := false
		for more := true; more; {
			o := minio.ListObjectsOptions{Prefix: s.object(prefix), Recursive: true, MaxKeys: page, FetchOwner: &owner}
			if after != "" {
				o.StartAfter = s.object(after)
			}
			found, err := s.page(ctx, o)
			if err != nil {
				yield(minio.ObjectInfo{}, err)
				return
			}
			for _, info := range found {
				info.Key = strings.TrimPrefix(info.Key, s.place.prefix)
				after = info.Key
				if !yield(info, nil) {
					return
				}
			}
			more = len(found) >= page
		}
	}
}

func (s *Store) page(ctx context.Context, o minio.ListObjectsOptions) (found []minio.ObjectInfo, err error) {
	ctx, cancel := s.call(ctx)
	defer cancel()
	for info := range s.client.ListObjectsIter(ctx, s.place.bucket, o) {
		if info.Err != nil {
			return nil, info.Err
		}
		if found = append(found, info); len(found) == page {
			break
		}
	}
	return found, ctx.Err() // the client ends a listing without a word then
}

// DeleteBatch implements store.Store.
func (s *Store) DeleteBatch(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if err := schema.CheckKey(key); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(keys, page) {
		if err := s.delete(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) delete(ctx context.Context, keys []string) error {
	ctx, cancel := s.call(ctx)
	defer cancel()
	objects := func(yield func(minio.ObjectInfo) bool) {
		for _, key := range keys {
			if !yield(minio.ObjectInfo{Key: s.object(key)}) {
				return
			}
		}
	}
	results, err := s.client.RemoveObjectsWithIter(ctx, s.place.bucket, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return s.wrap("delete", "", err)
	}
	for r := range results {
		if r.Err != nil && minio.ToErrorResponse(r.Err).Code != minio.NoSuchKey {
			return s.wrap("delete", strings.TrimPrefix(r.ObjectName, s.place.prefix), r.Err)
		}
	}
	return ctx.Err()
}

// Strays implements store.Store: names of objects below the prefix.
func (s *Store) Strays(ctx context.Context) (strays []string, err error) {
	for o, err := range s.names(ctx, "", "") {
		if err != nil {
			return nil, s.wrap("list", "", err)
		}
		if o.Key != probeName && schema.CheckKey(o.Key) != nil {
			strays = append(strays, o.Key)
		}
	}
	return strays, nil
}

// Now implements store.Store: the date of an answer.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var now time.Time
	ctx = context.WithValue(ctx, dateKey{}, &now)
	if _, err := s.stat(ctx, probeName); now.IsZero() {
		return now, s.wrap("stat", probeName, errors.Join(err, errors.New("the server does not date its answers")))
	}
	return now, nil
}

// Lock implements store.Store.
func (s *Store) Lock(ctx context.Context, purpose string) (store.Lock, error) {
	l, err := lease.Take(ctx, s, s.location, purpose)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// wrap says what failed, and what to do about it.
func (s *Store) wrap(what, key string, err error) error {
	answer := minio.ToErrorResponse(err)
	said := func(err error) error { return fmt.Errorf("store: %s %s: %w", what, key, err) }
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, context.Canceled):
		return said(err)
	case errors.Is(err, context.DeadlineExceeded):
		return fault.Hint(said(err), "%s does not answer in time", s.place.endpoint.Host)
	case answer.Code == minio.NoSuchBucket:
		return fault.Hint(said(err), "create the bucket %s, or correct --store", s.place.bucket)
	case answer.StatusCode == http.StatusNotFound:
		return said(fs.ErrNotExist)
	case answer.StatusCode == http.StatusForbidden:
		return fault.Hint(said(err), "check the credentials, and what they may do with bucket %s", s.place.bucket)
	case answer.Code == minio.AuthorizationHeaderMalformed, answer.StatusCode == http.StatusMovedPermanently:
		return fault.Hint(said(err), "check the region")
	case answer.StatusCode == http.StatusInsufficientStorage, answer.Code == "InsufficientStorage":
		return fault.Hint(said(err), "the server is full; nothing is damaged")
	}
	return fault.Hint(said(err), "check that %s can be reached and works; nothing is damaged, and it can be run again",
		s.place.endpoint.Host)
}
