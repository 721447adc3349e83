// Package store keeps what reconcile publishes: immutable objects under the keys of schema's paths.go.
//
// reconcile creates objects, the timestamp of a release last; serve and later a remote site read them; gc alone
// deletes. Nobody trusts the store's bytes: whoever reads an object checks it against a digest or a signature that it
// got elsewhere. What the store does promise is that an object, once created, is whole, stays, and is never replaced:
//
//	Create   create-if-absent, atomic across goroutines, processes and machines; durable when it returns nil
//	Head     the greatest timestamp: the commit point of the newest release
//	Lock     one reconcile at a time, as a courtesy; Create of the next timestamp is what decides
//	Fsck     digests everything and says what is altered, missing or left over
//	History  the published states that the store still has, verified
//	GC       deletes what no state that is kept needs
//
// A local store is a folder; local.go says how files come to be in it. The suite in storetest holds for every back end.
package store

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Store holds immutable objects by key (the forms that schema.CheckKey allows). Every method is safe for concurrent use,
// also across processes.
type Store interface {
	// Open reads an object; fs.ErrNotExist if there is none.
	Open(ctx context.Context, key string) (io.ReadCloser, error)
	// Create stores an object, durably once it returns nil. If there is one, its bytes stay, r may be left unread, and
	// the error is fs.ErrExist; that too is only said of an object that is durable.
	Create(ctx context.Context, key string, r io.Reader) error
	// List yields the objects whose key starts with prefix, in byte order of their keys. After an error it stops.
	List(ctx context.Context, prefix string) iter.Seq2[Entry, error]
	// Delete removes an object, for gc only; fs.ErrNotExist if there is none.
	Delete(ctx context.Context, key string) error
}

// Entry is one object in a listing. Size is in bytes. Time is when it was created by the clock of the back end, which gc
// compares with that clock only; zero if the back end does not say, and then the object counts as new.
type Entry struct {
	Key  string
	Size int64
	Time time.Time
}

// Open opens the store at location: a directory, as a path or after "file://". A directory that does not exist is an
// empty store; the first Create or Lock makes it.
func Open(ctx context.Context, location string) (Store, error) {
	dir := location
	if scheme, rest, ok := strings.Cut(location, "://"); ok {
		if scheme != "file" {
			// The rest may hold credentials, so only the scheme is repeated.
			return nil, fault.Hint(fmt.Errorf("store: this version knows no %.20q stores", scheme+"://"),
				"give a directory, or file:// and a directory")
		}
		dir = rest
	}
	if dir == "" {
		return nil, fault.Hint(fmt.Errorf("store %q: no directory", location), "give a directory, such as --store store")
	}
	return openLocal(dir)
}

// OpenExisting is Open for those who only read: a store that is not there yet is an error.
func OpenExisting(ctx context.Context, location string) (Store, error) {
	s, err := Open(ctx, location)
	if err != nil {
		return nil, err
	}
	if l, ok := s.(*Local); ok {
		if _, err := os.Stat(l.dir); err != nil {
			return nil, fault.Hint(fmt.Errorf("store: %w", err),
				"name the right directory with --store, or publish a first release into it with bakehouse reconcile")
		}
	}
	return s, nil
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
	for e, err := range s.List(ctx, schema.TimestampDir) {
		if err != nil {
			return 0, err
		}
		if v, ok := schema.ParseTimestampKey(e.Key); ok {
			version = v // byte order is version order
		}
	}
	return version, nil
}

// Lock takes the store's exclusive lock for a reconcile, or fails at once with a hint if another holds it. It also
// creates a local store, so that one that cannot be written fails before any work. The lock ends with release or with
// the process. Where the back end has none, nothing is locked: a second run then loses at Create of the timestamp.
func Lock(ctx context.Context, s Store) (release func() error, err error) {
	if l, ok := s.(interface {
		Lock(context.Context) (func() error, error)
	}); ok {
		return l.Lock(ctx)
	}
	return func() error { return nil }, nil
}
