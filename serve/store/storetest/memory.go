package storetest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/serve/store"
)

// Memory is a store that a test can alter, and that waits for no disk. Its objects are undated.
type Memory map[string][]byte

var memory sync.Mutex // of them all, as a map has no room for one

func (m Memory) get(ctx context.Context, key string) ([]byte, error) {
	memory.Lock()
	defer memory.Unlock()
	b, ok := m[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return b, ctx.Err()
}

// Open implements store.Store.
func (m Memory) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	b, err := m.get(ctx, key)
	return io.NopCloser(bytes.NewReader(b)), err
}

// OpenRange implements store.Store.
func (m Memory) OpenRange(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	b, err := m.get(ctx, key)
	return io.NopCloser(io.NewSectionReader(bytes.NewReader(b), offset, length)), err
}

// Stat implements store.Store.
func (m Memory) Stat(ctx context.Context, key string) (store.Entry, error) {
	b, err := m.get(ctx, key)
	return store.Entry{Key: key, Size: int64(len(b))}, err
}

// Create implements store.Store.
func (m Memory) Create(_ context.Context, key string, r io.Reader) error {
	b, err := io.ReadAll(r)
	memory.Lock()
	defer memory.Unlock()
	if _, ok := m[key]; ok {
		return fs.ErrExist
	}
	if err == nil {
		m[key] = b
	}
	return err
}

// List implements store.Store.
func (m Memory) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	memory.Lock()
	defer memory.Unlock()
	var es []store.Entry
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(key, prefix) && key > after {
			es = append(es, store.Entry{Key: key, Size: int64(len(m[key]))})
		}
	}
	return func(yield func(store.Entry, error) bool) {
		for _, e := range es {
			if !yield(e, ctx.Err()) {
				return
			}
		}
	}
}

// DeleteBatch implements store.Store.
func (m Memory) DeleteBatch(_ context.Context, keys []string) error {
	memory.Lock()
	defer memory.Unlock()
	for _, key := range keys {
		delete(m, key)
	}
	return nil
}

// Strays implements store.Store.
func (m Memory) Strays(context.Context) ([]string, error) { return nil, nil }

// Now implements store.Store.
func (m Memory) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Lock implements store.Store; nobody else comes.
func (m Memory) Lock(context.Context, string) (store.Lock, error) { return noLock{}, nil }

type noLock struct{}

func (noLock) Held(context.Context) (time.Duration, error) { return store.Forever, nil }
func (noLock) Release() error                              { return nil }
