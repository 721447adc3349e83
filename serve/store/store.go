// Package store keeps what reconcile publishes: immutable objects under the keys of schema's paths.go.
//
// reconcile creates objects, the timestamp of a release last; serve and later a remote site read them; gc alone
// deletes. Nobody trusts the store's bytes: whoever reads an object checks it against a digest or a signature that it
// got elsewhere. What the store does promise is that an object, once created, is whole, stays, and is never replaced.
//
// This package is the contract: Store, and what can be said over any Store. Back ends are in local (a directory), s3
// and remote (through a server, where serve/publishing answers); stores opens them by their location; kinds is what an
// object must be by its key; maintain has fsck, gc and history; lease is the lock of back ends that have none that ends
// with a process. The suite in storetest holds for every back end.
package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"time"

	"bakehouse/schema"
)

// Store holds immutable objects by key (the forms that schema.CheckKey allows). Every method is safe for concurrent
// use, also across processes and machines.
type Store interface {
	// Open reads an object; fs.ErrNotExist if there is none.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// OpenRange reads length bytes from offset on, or what there is of them; fs.ErrNotExist if there is no object. Both
	// are in bytes, and the object is longer than offset.
	OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	// Stat describes an object without reading it; fs.ErrNotExist if there is none.
	Stat(ctx context.Context, key string) (Entry, error)
	// Create stores an object, atomically and durably once it returns nil: of many that create a key at a time, one
	// gets nil. If there is one, its bytes stay, r may be left unread, and the error is fs.ErrExist; that too is only
	// said of an object that is durable. Where an answer can be lost, it is settled first which of the two it was.
	Create(ctx context.Context, key string, r io.Reader) error
	// List yields the objects whose key starts with prefix and is greater than after, in byte order of their keys.
	// After an error it stops.
	List(ctx context.Context, prefix, after string) iter.Seq2[Entry, error]
	// DeleteBatch removes objects in no order, for gc only; those that are not there are passed over. All is durable
	// once it returns nil.
	DeleteBatch(ctx context.Context, keys []string) error
	// Strays lists what is in the store's place and is neither an object nor the store's own, by its path or name.
	Strays(ctx context.Context) ([]string, error)
	// Now is the time by the clock that dates the entries.
	Now(ctx context.Context) (time.Time, error)
	// Lock takes the store's only lock for a purpose such as "gc", or fails at once with an error that says who holds
	// it. It also makes a store that is not there yet, so that one that cannot be written fails before any work.
	Lock(ctx context.Context, purpose string) (Lock, error)
}

// Lock is held until Release or until its holder is dead.
type Lock interface {
	// Held says for how long the lock is surely held from now on, or why it is not any more. Unless it ends with the
	// process, a process that stood still may have lost it.
	Held(ctx context.Context) (time.Duration, error)
	Release() error
}

// Entry is one object in a listing. Size is in bytes. Time is when it was created by the clock of the back end, which
// gc compares with Now only; zero if the back end does not say, and then the object counts as new.
type Entry struct {
	Key  string
	Size int64
	Time time.Time
}

// Read returns a whole object, or an error if it is larger than limit bytes.
func Read(ctx context.Context, s Store, key string, limit int64) ([]byte, error) {
	r, err := s.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("store: read %s: %w", key, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("store: %s is larger than %d bytes", key, limit)
	}
	return b, nil
}

// CreateBytes is Create of b.
func CreateBytes(ctx context.Context, s Store, key string, b []byte) error {
	return s.Create(ctx, key, bytes.NewReader(b))
}

// Head is the version of the newest timestamp, 0 if the store has none. The timestamp is not verified.
func Head(ctx context.Context, s Store) (version int64, err error) {
	head, err := HeadFrom(ctx, s, 0)
	if err != nil {
		return 0, err
	}
	version, _ = schema.ParseTimestampKey(head.Key)
	return version, nil
}

// HeadFrom is the entry of the newest timestamp from that version on, the zero Entry if there is none. Asked from the
// last known head on it costs one request on every back end.
func HeadFrom(ctx context.Context, s Store, version int64) (head Entry, err error) {
	after := ""
	if version > 1 {
		after = schema.TimestampKey(version - 1)
	}
	for e, err := range s.List(ctx, schema.TimestampDir, after) {
		if err != nil {
			return Entry{}, err
		}
		if _, ok := schema.ParseTimestampKey(e.Key); ok {
			head = e // byte order is version order
		}
	}
	return head, nil
}
