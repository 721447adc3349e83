package publish

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"bakehouse/serve/store"
)

// memStore is a store in memory, for tests that would otherwise wait for the disk hundreds of times.
type memStore map[string][]byte

var memLock sync.Mutex

func (m memStore) Open(_ context.Context, key string) (io.ReadCloser, error) {
	memLock.Lock()
	defer memLock.Unlock()
	b, ok := m[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (m memStore) Create(_ context.Context, key string, r io.Reader) error {
	b, err := io.ReadAll(r)
	memLock.Lock()
	defer memLock.Unlock()
	if _, ok := m[key]; ok {
		return fs.ErrExist
	}
	m[key] = b
	return err
}

func (m memStore) List(_ context.Context, prefix string) iter.Seq2[store.Entry, error] {
	memLock.Lock()
	defer memLock.Unlock()
	var es []store.Entry
	for key, b := range maps.All(m) {
		if strings.HasPrefix(key, prefix) {
			es = append(es, store.Entry{Key: key, Size: int64(len(b))})
		}
	}
	slices.SortFunc(es, func(a, b store.Entry) int { return cmp.Compare(a.Key, b.Key) })
	return func(yield func(store.Entry, error) bool) {
		for _, e := range es {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (m memStore) Delete(_ context.Context, key string) error {
	memLock.Lock()
	defer memLock.Unlock()
	delete(m, key)
	return nil
}
