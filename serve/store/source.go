package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/agent/trust"
	"bakehouse/schema"
)

// Source is s as package trust reads it. head returns the version of the newest timestamp, 0 if there is none.
func Source(s Store, head func(context.Context) (int64, error)) trust.Source { return source{s, head} }

type source struct {
	store Store
	head  func(context.Context) (int64, error)
}

func (s source) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	key := schema.MetadataDir + name
	if name == "timestamp.json" {
		v, err := s.head(ctx)
		if err != nil {
			return nil, err
		}
		if v == 0 {
			return nil, fmt.Errorf("the store has no release: %w", fs.ErrNotExist)
		}
		key = schema.TimestampKey(v)
	}
	return s.read(ctx, key, limit)
}

func (s source) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	return s.read(ctx, schema.TargetKey(d), limit)
}

func (s source) Tree(ctx context.Context, root schema.Digest, limit int64) ([]byte, error) {
	return s.read(ctx, schema.TreeKey(root), limit)
}

func (s source) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	if err := schema.CheckKey(key); err != nil {
		return nil, err
	}
	return Read(ctx, s.store, key, limit)
}

// Roots are the anchor, whose version that is, and the roots that follow it in the store. They are not verified.
func Roots(ctx context.Context, s Store, anchor []byte, version int) (roots [][]byte, err error) {
	roots = [][]byte{anchor}
	for n := version + 1; ; n++ {
		b, err := Read(ctx, s, schema.MetadataKey("root", int64(n)), schema.MaxRoot)
		if errors.Is(err, fs.ErrNotExist) {
			return roots, nil
		}
		if err != nil {
			return nil, err
		}
		roots = append(roots, b)
	}
}
