package reconcile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// scratch is a store for one command: what is baked into it owes nothing to the published store, but for source files (host
// programs, files fetched by URL), which are read from there and compared with their digests. It implements bake.Store.
type scratch struct {
	dir    string
	source store.Store
}

func newScratch(source store.Store) (*scratch, error) {
	dir, err := os.MkdirTemp("", "bakehouse-scratch-*") // 0700: packages can hold secrets
	return &scratch{dir, source}, err
}

func (s *scratch) remove() error { return os.RemoveAll(s.dir) }

func (s *scratch) path(key string) (string, error) {
	return filepath.Join(s.dir, filepath.FromSlash(key)), schema.CheckKey(key)
}

func (s *scratch) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(key, schema.SourceFileDir) {
		return s.source.Open(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *scratch) Create(ctx context.Context, key string, r io.Reader) error {
	path, err := s.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Written beside its name, for another goroutine may look for it; then linked, which fails if there is one.
	f, err := os.CreateTemp(s.dir, "new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

// segments opens segments for Manifest.Assemble.
func (s *scratch) segments(ctx context.Context) func(schema.SegmentRef) (io.ReadCloser, error) {
	return func(ref schema.SegmentRef) (io.ReadCloser, error) { return s.Open(ctx, schema.SegmentKey(ref.Digest)) }
}

// segmentsOf opens a store's segments for Manifest.Assemble.
func segmentsOf(ctx context.Context, st store.Store) func(schema.SegmentRef) (io.ReadCloser, error) {
	return func(ref schema.SegmentRef) (io.ReadCloser, error) { return st.Open(ctx, schema.SegmentKey(ref.Digest)) }
}
