package maintain

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// Objects are the keys, in byte order, of what the state of that timestamp is made of, of what is known of its
// packages, and of the roots. All of it is there; fs.ErrNotExist if it is not.
func Objects(ctx context.Context, h *History, version int64) ([]string, error) {
	if !slices.Contains(h.versions, version) {
		return nil, fmt.Errorf("%s: %w", schema.TimestampKey(version), fs.ErrNotExist)
	}
	s, err := h.At(ctx, version)
	if err != nil {
		return nil, err
	}
	g := &collector{GCOptions: GCOptions{DryRun: true}, ctx: ctx, store: h.store, entries: map[string]store.Entry{},
		seen: map[string]bool{}, live: map[string]bool{}, spared: map[string]bool{}}
	if err := g.list(); err != nil {
		return nil, err
	}
	if err := g.keep(s); err != nil {
		return nil, fmt.Errorf("%s: %w", schema.TimestampKey(version), err)
	}
	for i := range h.roots {
		g.live[schema.MetadataKey("root", int64(h.first+i))] = true
	}
	g.lists()
	maps.DeleteFunc(g.live, func(key string, live bool) bool { return !live })
	return slices.Sorted(maps.Keys(g.live)), nil
}
