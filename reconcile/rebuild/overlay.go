package rebuild

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

// overlay is a store for one command: what is baked into it owes nothing to the published store, but for source files
// (host programs, files fetched by URL), which are read from there and compared with their digests. It implements
// bake.Store.
type overlay struct {
	dir    string
	source store.Store
}

func newOverlay(source store.Store) (*overlay, error) {
	dir, err := os.MkdirTemp("", "bakehouse-overlay-*") // 0700: packages can hold secrets
	return &overlay{dir, source}, err
}

func (o *overlay) remove() error { return os.RemoveAll(o.dir) }

func (o *overlay) path(key string) (string, error) {
	return filepath.Join(o.dir, filepath.FromSlash(key)), schema.CheckKey(key)
}

func (o *overlay) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	path, err := o.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(key, schema.SourceFileDir) {
		return o.source.Open(ctx, key)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (o *overlay) Create(ctx context.Context, key string, r io.Reader) error {
	path, err := o.path(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	// Written beside its name, for another goroutine may look for it; then linked, which fails if there is one.
	f, err := os.CreateTemp(o.dir, "new-*")
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
func (o *overlay) segments(ctx context.Context) func(schema.SegmentRef) (io.ReadCloser, error) {
	return func(ref schema.SegmentRef) (io.ReadCloser, error) { return o.Open(ctx, schema.SegmentKey(ref.Digest)) }
}
