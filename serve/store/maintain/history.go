package maintain

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/tree"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// History is the published states that the store still has, each behind its timestamp, verified from the fleet's root.
type History struct {
	store    store.Store
	roots    [][]byte // as published, from the anchor on
	first    int      // version of the anchor
	versions []int64  // of timestamps, falling
}

// OpenHistory lists the states. anchor is a root of the fleet that the caller trusts; the store's own later roots
// have to follow from it.
func OpenHistory(ctx context.Context, s store.Store, anchor []byte) (*History, error) {
	root, err := trust.ParseRoot(anchor)
	if err != nil {
		return nil, fmt.Errorf("the fleet's root: %w", err)
	}
	h := &History{store: s, first: int(root.Signed.Version)}
	if h.roots, err = store.Roots(ctx, s, anchor, h.first); err != nil {
		return nil, err
	}
	if _, err := trust.VerifyRoots(h.roots); err != nil {
		return nil, err
	}
	for e, err := range s.List(ctx, schema.TimestampDir, "") {
		if err != nil {
			return nil, err
		}
		if v, ok := schema.ParseTimestampKey(e.Key); ok {
			h.versions = append(h.versions, v)
		}
	}
	slices.SortFunc(h.versions, func(a, b int64) int { return cmp.Compare(b, a) })
	return h, nil
}

// Roots are the fleet's, from the anchor on, verified. They must not be changed.
func (h *History) Roots() [][]byte { return h.roots }

// Versions are those of the timestamps, the newest first.
func (h *History) Versions() []int64 { return h.versions }

// State is what one timestamp leads to.
type State struct {
	Timestamp int64
	Release   schema.Release

	source  trust.Source
	client  *trust.Client
	content map[string]schema.Digest // of top-level targets, by name
	meta    map[string]int64         // versions of targets and bins, by role
	bins    []string
	snap    int64 // version of the snapshot
	tree    schema.Digest
}

// At reads and verifies the state behind the timestamp of that version, its bins aside. Expiry does not count: an old
// state is expired, and none is installed from here. It counts as signed if the roots of its time say so. What does not
// verify is a refusal; what is missing, fs.ErrNotExist.
func (h *History) At(ctx context.Context, version int64) (*State, error) {
	s, err := h.at(ctx, version, len(h.roots))
	// A later root may have dropped the keys of that time.
	for n := len(h.roots) - 1; n > 0 && fault.IsRefusal(err); n-- {
		if older, olderErr := h.at(ctx, version, n); olderErr == nil {
			s, err = older, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", schema.TimestampKey(version), err)
	}
	return s, nil
}

func (h *History) at(ctx context.Context, version int64, roots int) (*State, error) {
	client, err := trust.Open("", h.roots[0], nil)
	if err != nil {
		return nil, err
	}
	client.AllowExpired()
	head := func(context.Context) (int64, error) { return version, nil }
	s := &State{Timestamp: version, client: client, content: map[string]schema.Digest{}, meta: map[string]int64{},
		source: rootsSource{store.Source(h.store, head), h.roots[:roots], h.first}}
	if err := client.Refresh(ctx, s.source, nil); err != nil {
		return nil, err
	}
	if _, got := client.Versions(); got != version {
		return nil, fault.Refuse(fmt.Errorf("holds timestamp version %d", got), "find out who put it there, and remove it")
	}
	release, err := client.Release(ctx, s.source)
	if err != nil {
		return nil, err
	}
	s.Release = *release
	set := client.Verified()
	s.snap = set.Snapshot.Signed.Version
	if s.tree, err = tree.Signed(set.Snapshot.Signed.UnrecognizedFields); err != nil {
		return nil, fault.Refuse(fmt.Errorf("snapshot %d: %w", s.snap, err), "publish again with this program")
	}
	for file, m := range set.Snapshot.Signed.Meta {
		s.meta[strings.TrimSuffix(file, ".json")] = m.Version
	}
	targets := set.Targets["targets"].Signed
	for name, t := range targets.Targets {
		d, err := schema.ParseHex(t.Hashes["sha256"].String())
		if err != nil {
			return nil, fmt.Errorf("target %s: %w", name, err)
		}
		s.content[name] = d
	}
	s.bins = targets.Delegations.SuccinctRoles.GetRoles()
	return s, nil
}

// Assignments yields what the state gives each host, bin by bin, without the bins that are in seen and with a note
// there of those it yields: two states share most of their bins. A nil seen yields all.
func (s *State) Assignments(ctx context.Context, seen map[string]bool) iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) {
		for _, bin := range s.bins {
			key := schema.MetadataKey(bin, s.meta[bin])
			if seen[key] {
				continue
			}
			if seen != nil {
				seen[key] = true
			}
			as, err := s.client.Bin(ctx, s.source, bin)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, a := range as {
				if !yield(a, nil) {
					return
				}
			}
		}
	}
}

// rootsSource is the store with these roots and no others.
type rootsSource struct {
	trust.Source
	roots [][]byte
	first int // version of roots[0]
}

func (r rootsSource) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	role, version, err := kinds.Metadata(schema.MetadataDir + name)
	if err != nil || role != "root" {
		return r.Source.Metadata(ctx, name, limit)
	}
	if i := int(version) - r.first; i >= 0 && i < len(r.roots) {
		return r.roots[i], nil
	}
	return nil, fs.ErrNotExist
}
