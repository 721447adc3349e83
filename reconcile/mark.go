package reconcile

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// A store that was restored from a backup looks as it did then, and what is published into it plainly has numbers that
// were given before. So this machine keeps the newest timestamp that it signed or verified, per store and fleet, beside
// its cache: a pass refuses a store that does not follow from it.

// highWater is that timestamp's file; empty: none is kept, as without a cache.
type highWater string

// highWaterOf is that of the pass's store and the fleet that f is of.
func (p *pass) highWaterOf(f *fleet.Fleet) (highWater, error) {
	dir := p.head.Cache.Kept()
	if dir == "" || len(f.Roots) == 0 {
		return "", nil
	}
	where, err := stores.Absolute(p.Store)
	if err != nil {
		return "", err
	}
	name := schema.DigestOf([]byte(schema.DigestOf(f.Roots[0]).Hex() + " " + where))
	return highWater(filepath.Join(dir, name.Hex()+".json")), nil
}

// mark is what is remembered. A file that is damaged counts as none: it guards against a mistake, not against whoever
// can write there, who decides what is signed anyway.
func (h highWater) mark() (m store.Mark) {
	b, err := os.ReadFile(string(h))
	if h == "" || err != nil || json.Unmarshal(b, &m) != nil {
		return store.Mark{}
	}
	return m
}

// check refuses a store that was set back. A recovery is above what is remembered, whatever its operator gave.
func (h highWater) check(ctx context.Context, st store.Store, f *fleet.Fleet, r *publish.Recovery) error {
	m := h.mark()
	if r.Seen > 0 {
		r.Seen = max(r.Seen, m.Version)
		return nil
	}
	head, err := store.Head(ctx, st)
	if err != nil {
		return err
	}
	_, err = m.Check(ctx, st, head, func() ([][]byte, error) { return f.Roots, nil })
	return err
}

// keepHighWater remembers the head of the store, which this pass verified or signed.
func (p *pass) keepHighWater(ctx context.Context, h highWater) {
	if h == "" {
		return
	}
	head, err := store.Head(ctx, p.store)
	if err != nil || head == 0 {
		return
	}
	stamp, err := store.Read(ctx, p.store, schema.TimestampKey(head), schema.MaxTimestamp)
	var b []byte
	if err == nil {
		b, err = json.Marshal(store.Mark{Version: head, Timestamp: stamp})
	}
	if err == nil {
		if err = durable.MkdirAll(filepath.Dir(string(h)), 0o700); err == nil {
			err = durable.WriteFile(string(h), b, 0o600)
		}
	}
	if err != nil {
		console.Note(p.log, "%v", fmt.Errorf("cannot remember what is published: %w", err))
	}
}
