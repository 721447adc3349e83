package serve

import (
	"context"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"bakehouse/serve/store"
)

// askedStore is a store that counts what a bucket would be asked.
type askedStore struct {
	store.Store
	n atomic.Int64
}

func (c *askedStore) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	c.n.Add(1)
	return c.Store.Open(ctx, key)
}

func (c *askedStore) Stat(ctx context.Context, key string) (store.Entry, error) {
	c.n.Add(1)
	return c.Store.Stat(ctx, key)
}

func (c *askedStore) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	c.n.Add(1)
	return c.Store.List(ctx, prefix, after)
}

func TestALookAtAStoreThatHasNothingNewIsOneRequest(t *testing.T) {
	f, _ := standardFleet(t)
	c := &askedStore{Store: f.store}
	f.store = c
	w := start(t, f)
	check(t, w.server.releases.Follow(t.Context()))
	before := c.n.Load()
	for range 10 {
		check(t, w.server.releases.Tick(t.Context()))
	}
	if n := c.n.Load() - before; n != 10 {
		t.Errorf("10 looks were %d requests", n)
	}
	f.publish()
	check(t, w.server.releases.Tick(t.Context()))
	if h := w.health(); h.Timestamp != 2 {
		t.Errorf("what is new is not seen: %+v", h)
	}
}
