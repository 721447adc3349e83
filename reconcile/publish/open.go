package publish

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"time"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// Open verifies the head of the store.
func Open(ctx context.Context, st store.Store, anchor []byte) (*trust.Client, trust.Source, error) {
	client, err := trust.Open("", anchor, time.Now)
	if err != nil {
		return nil, nil, err
	}
	src := store.Source(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
	if err := client.Refresh(ctx, src, nil); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fault.Hint(err, "publish a release first: bakehouse reconcile")
		}
		return nil, nil, err
	}
	return client, src, nil
}

// AssignmentOf returns what the verified release gives the host.
func AssignmentOf(
	ctx context.Context, client *trust.Client, src trust.Source, host string,
) (*schema.Assignment, error) {
	a, err := client.Assignment(ctx, src, host)
	if errors.Is(err, trust.ErrNoTarget) {
		return nil, fault.Hint(fmt.Errorf("the published release has no package for host %s", host),
			"check the name, and that its commit was reconciled: bakehouse explain %s", host)
	}
	return a, err
}

// ReadManifest reads a manifest and checks it against its digest.
func ReadManifest(ctx context.Context, st store.Store, d schema.Digest) (*schema.Manifest, error) {
	b, err := store.Read(ctx, st, schema.ManifestKey(d), schema.MaxManifest)
	if err != nil {
		return nil, hintMissing(fmt.Errorf("manifest %s: %w", d.Short(), err), "restore it from a copy of the store; "+
			"or bake it again where it was published, which knows of it from its cache: bakehouse reconcile --full")
	}
	m, err := schema.DecodeManifest(b, d)
	if err != nil {
		return nil, fault.Refuse(err, "the store is altered or damaged: run `bakehouse store fsck`")
	}
	return m, nil
}

// Segments opens a store's segments for Manifest.Assemble.
func Segments(ctx context.Context, st store.Store) func(schema.SegmentRef) (io.ReadCloser, error) {
	return func(ref schema.SegmentRef) (io.ReadCloser, error) {
		r, err := st.Open(ctx, schema.SegmentKey(ref.Digest))
		return r, hintMissing(err, "restore it from a copy of the store, or bake it again: bakehouse reconcile --full")
	}
}

// hintMissing says what adds an object of a package that the store lacks.
func hintMissing(err error, hint string) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.Hint(err, "%s", hint)
}

// InOrder yields what the release gives, in order of hosts.
func (s *State) InOrder() iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) {
		for _, host := range slices.Sorted(maps.Keys(s.assignments)) {
			if !yield(s.assignments[host], nil) {
				return
			}
		}
	}
}

// Commit is the commit that the release was made from, empty if nothing is published.
func (s *State) Commit() string {
	if s.release == nil {
		return ""
	}
	return s.release.Commit
}
