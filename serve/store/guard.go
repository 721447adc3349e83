package store

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
)

// batch is how many objects are deleted between two looks at the lock; S3 takes as many in a request.
const batch = 1000

// WithLock takes the lock of s for a purpose such as "gc", or fails at once with an error that says who holds it.
// What is done through held is done under the lock: it is looked at again before each timestamp that is created and
// each batch of deletions, so that a process that stood still, and lost the lock, publishes nothing that a gc did not
// know of and deletes nothing that a reconcile counts on.
func WithLock(ctx context.Context, s Store, purpose string) (held Store, release func() error, err error) {
	lock, err := s.Lock(ctx, purpose)
	if err != nil {
		return nil, nil, err
	}
	return &guarded{s, lock}, lock.Release, nil
}

type guarded struct {
	Store
	lock Lock
}

// under does something that must end before the lock may.
func (g *guarded) under(ctx context.Context, do func(context.Context) error) error {
	left, err := g.lock.Held(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	return do(ctx)
}

func (g *guarded) Create(ctx context.Context, key string, r io.Reader) error {
	if !strings.HasPrefix(key, schema.TimestampDir) {
		return g.Store.Create(ctx, key, r)
	}
	return g.under(ctx, func(ctx context.Context) error { return g.Store.Create(ctx, key, r) })
}

func (g *guarded) DeleteBatch(ctx context.Context, keys []string) error {
	for some := range slices.Chunk(keys, batch) {
		err := g.under(ctx, func(ctx context.Context) error { return g.Store.DeleteBatch(ctx, some) })
		if err != nil {
			return err
		}
	}
	return nil
}

// Forever is what Held says of a lock that ends with its process.
const Forever = 100 * 365 * 24 * time.Hour
