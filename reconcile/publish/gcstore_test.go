package publish

import (
	"bytes"
	"cmp"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// agingStore is a store in memory with a clock, whose calls can be made to fail.
type agingStore struct {
	memStore
	dates    map[string]time.Time
	now      time.Time
	creates  int          // how many Creates work; negative: all
	deletes  int          // how many Deletes work; negative: all
	deleting func(string) // called after each object that was deleted
}

func newAgingStore() *agingStore {
	return &agingStore{memStore: memStore{}, dates: map[string]time.Time{}, now: start, creates: -1, deletes: -1}
}

// copied is a store with the same content.
func (s *agingStore) copied() *agingStore {
	c := *s
	c.memStore, c.dates = maps.Clone(s.memStore), maps.Clone(s.dates)
	return &c
}

var errKilled = errors.New("killed")

func (s *agingStore) Create(ctx context.Context, key string, r io.Reader) error {
	memLock.Lock()
	if s.creates == 0 {
		memLock.Unlock()
		return errKilled
	}
	s.creates--
	memLock.Unlock()
	err := s.memStore.Create(ctx, key, r)
	if err == nil {
		memLock.Lock()
		s.dates[key] = s.now
		memLock.Unlock()
	}
	return err
}

func (s *agingStore) DeleteBatch(ctx context.Context, keys []string) error {
	for _, key := range keys {
		if s.deletes == 0 {
			return errKilled
		}
		s.deletes--
		delete(s.dates, key)
		if err := s.memStore.DeleteBatch(ctx, []string{key}); err != nil {
			return err
		}
		if s.deleting != nil {
			s.deleting(key)
		}
	}
	return nil
}

func (s *agingStore) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range s.memStore.List(ctx, prefix, after) {
			e.Time = s.dates[e.Key]
			if !yield(e, err) {
				return
			}
		}
	}
}

func (s *agingStore) Now(context.Context) (time.Time, error) { return s.now, nil }

// oven makes the packages of these tests: each is called by a letter, has a segment of its own and shares one with
// others.
type oven struct {
	f *testFleet
	t testing.TB
}

func (o oven) segment(text string) ([]byte, schema.SegmentRef) {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = z.Write([]byte(text))
	}
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		o.t.Fatal(err)
	}
	return b.Bytes(), schema.SegmentRef{Digest: schema.DigestOf(b.Bytes()), Size: int64(b.Len()),
		Payload: schema.DigestOf([]byte(text)), PayloadSize: int64(len(text))}
}

// manifest is that of a package, with its segments.
func (o oven) manifest(name string) (*schema.Manifest, map[schema.SegmentRef][]byte) {
	m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1",
		Recipe:   "0123456789abcdef",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Tgz,
		Anchor: schema.DigestOf(o.f.Roots[0]),
		Parts:  []schema.Part{{Data: []byte("package " + name)}}}
	segments := map[schema.SegmentRef][]byte{}
	whole := []byte("package " + name)
	for _, text := range []string{fmt.Sprintf("shared %d", name[0]%3), "own " + name} {
		b, ref := o.segment(text)
		segments[ref] = b
		m.Parts = append(m.Parts, schema.Part{Segment: &ref})
		whole = append(whole, b...)
	}
	m.Size, m.SHA256 = int64(len(whole)), schema.DigestOf(whole)
	return m, segments
}

// bake puts a package into the store, as reconcile does, and returns what a host is to be given.
func (o oven) bake(st store.Store, host, name string) (schema.Assignment, error) {
	o.t.Helper()
	ctx := o.t.Context()
	m, segments := o.manifest(name)
	create := func(key string, b []byte) error {
		if err := store.CreateBytes(ctx, st, key, b); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	}
	for _, part := range m.Parts {
		if part.Segment == nil {
			continue
		}
		claim, _ := json.Marshal(part.Segment)
		if err := cmp.Or(create(schema.SegmentKey(part.Segment.Digest), segments[*part.Segment]),
			create(schema.PayloadKey(part.Segment.Payload, "deflate1"), claim)); err != nil {
			return schema.Assignment{}, err
		}
	}
	text, digest, err := m.Encode()
	if err != nil {
		o.t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(text)
	_ = z.Close()
	if err := create(schema.ManifestKey(digest), packed.Bytes()); err != nil {
		return schema.Assignment{}, err
	}
	a := want(host, name)
	a.SHA256, a.Length, a.Manifest, a.Recipe = m.SHA256, m.Size, digest, m.Recipe
	return a, Statement(ctx, st, o.f.keys, []string{"package"}, m, digest)
}
