package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

// many is a history with enough in it that gc finds something to delete.
func many(t *testing.T) *history {
	h := newHistory(t, 1)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		h.hosts["web01"] = name
		h.release()
		h.st.now = h.st.now.Add(time.Hour)
	}
	return h
}

func TestGCDeletesNothingFromAStoreThatIsNotSound(t *testing.T) {
	t.Parallel()
	made := many(t)
	copied := func(t *testing.T) *history {
		h := *made
		h.t, h.st = t, made.st.copied()
		return &h
	}
	first := func(h *history, prefix string) string { return h.keys(prefix)[0] }
	last := func(h *history, prefix string) string { keys := h.keys(prefix); return keys[len(keys)-1] }
	change := func(h *history, key string) { h.st.memStore[key] = append(bytes.Clone(h.st.memStore[key]), 'x') }
	current := func(h *history) schema.Candidate {
		return h.verified().Assignments()["web01"].Candidates()[0]
	}
	remove := func(h *history, key string) { delete(h.st.memStore, key) }
	replace := func(h *history, key, text string) { h.st.memStore[key] = []byte(text) }
	for name, alter := range map[string]func(h *history){
		"the newest timestamp altered": func(h *history) { change(h, last(h, schema.TimestampDir)) },
		"an older one put on top": func(h *history) {
			h.st.memStore[schema.TimestampKey(9)] = h.st.memStore[schema.TimestampKey(3)]
		},
		"another kept timestamp altered":  func(h *history) { change(h, schema.TimestampKey(5)) },
		"the snapshot missing":            func(h *history) { remove(h, schema.MetadataKey("snapshot", 6)) },
		"a bin of a kept release altered": func(h *history) { change(h, last(h, schema.MetadataDir+"1.bin-")) },
		"the policy missing":              func(h *history) { remove(h, schema.TargetKey(h.digests().policy)) },
		"a needed manifest missing":       func(h *history) { remove(h, schema.ManifestKey(current(h).Manifest)) },
		"a needed manifest altered": func(h *history) {
			replace(h, schema.ManifestKey(current(h).Manifest), "x")
		},
		"a needed segment missing": func(h *history) { remove(h, h.segmentOf(current(h))) },
		"a claim that is no JSON":  func(h *history) { replace(h, first(h, schema.PayloadDir), "{") },
		"a claim about another payload": func(h *history) {
			h.st.memStore[first(h, schema.PayloadDir)] = h.st.memStore[last(h, schema.PayloadDir)]
		},
		"all timestamps gone": func(h *history) {
			maps.DeleteFunc(h.st.memStore, func(key string, _ []byte) bool {
				return strings.HasPrefix(key, schema.TimestampDir)
			})
		},
		"the second root altered": func(h *history) { replace(h, schema.MetadataKey("root", 2), "{}") },
		"metadata above the newest, unreadable": func(h *history) {
			replace(h, schema.MetadataKey("targets", 99), "{}")
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := copied(t)
			alter(h)
			before := maps.Clone(h.st.memStore)
			_, err := maintain.GC(t.Context(), h.st, maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 2})
			if err == nil || !strings.HasPrefix(err.Error(), "gc: nothing was deleted: ") || fault.HintOf(err) == "" {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			older := name == "another kept timestamp altered"
			giveUp := "give that release up: remove timestamps/000000000005.json"
			if older != strings.Contains(fault.HintOf(err), giveUp) {
				t.Errorf("hint %q", fault.HintOf(err))
			}
			if !maps.EqualFunc(before, h.st.memStore, bytes.Equal) {
				t.Error("it changed the store")
			}
		})
	}
	t.Run("another fleet's root", func(t *testing.T) {
		h := copied(t)
		other := maintain.GCOptions{Anchor: newFleet(t).Roots[0], Keep: 2}
		if _, err := maintain.GC(t.Context(), h.st, other); !fault.IsRefusal(err) {
			t.Error(err)
		}
	})
	t.Run("a store whose lock another took meanwhile", func(t *testing.T) {
		h := copied(t)
		before := maps.Clone(h.st.memStore)
		_, err := maintain.GC(t.Context(), lostLock{h.st}, maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 2})
		if !errors.Is(err, errLockLost) || !maps.EqualFunc(before, h.st.memStore, bytes.Equal) {
			t.Error("the store was changed, or", err)
		}
	})
}

// lostLock is a store whose lock is lost as soon as it is taken.
type lostLock struct{ store.Store }

var errLockLost = errors.New("lost")

func (l lostLock) Lock(context.Context, string) (store.Lock, error) { return l, nil }
func (lostLock) Held(context.Context) (time.Duration, error)        { return 0, errLockLost }
func (lostLock) Release() error                                     { return nil }

// digests are of the newest release's targets.
func (h *history) digests() (d struct{ policy schema.Digest }) {
	h.t.Helper()
	b, err := json.Marshal(h.verified().Policy())
	if err != nil {
		h.t.Fatal(err)
	}
	d.policy = schema.DigestOf(b)
	return d
}

func (h *history) segmentOf(c schema.Candidate) string {
	h.t.Helper()
	b, err := store.Read(h.t.Context(), h.st, schema.ManifestKey(c.Manifest), schema.MaxManifest)
	if err != nil {
		h.t.Fatal(err)
	}
	m, err := schema.DecodeManifest(b, c.Manifest)
	if err != nil {
		h.t.Fatal(err)
	}
	return schema.SegmentKey(m.Segments()[0].Digest)
}

// A number that a run used before it died, or that a timestamp had which is lost, must not come to mean something else:
// hosts may have seen it. What such files name stays with them.
func TestGCLeavesWhatLiesAboveTheNewestState(t *testing.T) {
	t.Parallel()
	h := many(t)
	lost := h.verified().Assignments()["web01"].Candidates()[0]
	delete(h.st.memStore, schema.TimestampKey(6))
	h.st.now = h.st.now.Add(100 * day)
	if _, err := maintain.GC(t.Context(), h.st, maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 1}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{schema.MetadataKey("snapshot", 6), schema.MetadataKey("targets", 6),
		schema.ManifestKey(lost.Manifest), h.segmentOf(lost)} {
		if _, ok := h.st.memStore[key]; !ok {
			t.Errorf("%s is gone", key)
		}
	}
	if _, ok := h.st.memStore[schema.TimestampKey(4)]; ok {
		t.Error("nothing was deleted, so this shows nothing")
	}
}

func TestGCLeavesWhatARunHasJustWritten(t *testing.T) {
	t.Parallel()
	h := many(t)
	h.st.now = h.st.now.Add(100 * day)
	// An old segment and a manifest of long ago, of runs that died; then a new claim, and a new statement on that
	// manifest.
	old, err := h.bake(h.st, "web01", "z")
	if err != nil {
		t.Fatal(err)
	}
	for key := range h.st.dates {
		if !strings.HasPrefix(key, schema.StatementDir) && !strings.HasPrefix(key, schema.PayloadDir) &&
			h.st.dates[key].Equal(h.st.now) {
			h.st.dates[key] = start
		}
	}
	h.st.now = h.st.now.Add(23 * time.Hour)
	r, err := maintain.GC(t.Context(), h.st, maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 1, Grace: day})
	if err != nil {
		t.Fatal(err)
	}
	if h.segmentOf(schema.Candidate{Manifest: old.Manifest}) == "" ||
		len(h.keys(schema.StatementsPrefix(old.Manifest))) == 0 {
		t.Error("something of the new package is gone")
	}
	h.check([]published{{packages: map[schema.Candidate]bool{{SHA256: old.SHA256, Manifest: old.Manifest}: true}}})
	i := slices.IndexFunc(r.Kinds, func(k maintain.KindTally) bool { return k.Kind == "manifests" })
	if r.Kinds[i].Spared.Objects != 1 || r.Kinds[i].Freed.Objects == 0 {
		t.Errorf("manifests: %+v", r.Kinds[i])
	}
	h.st.now = h.st.now.Add(2 * time.Hour)
	only := maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 1, Grace: day}
	if _, err := maintain.GC(t.Context(), h.st, only); err != nil {
		t.Fatal(err)
	}
	if len(h.keys(schema.ManifestKey(old.Manifest))) > 0 {
		t.Error("it stays for good")
	}
}

// A run that takes no notice of the lock, as on a file system that has none, publishes while gc looks.
func TestGCStopsIfARunPublishesMeanwhile(t *testing.T) {
	t.Parallel()
	h := many(t)
	s := &meddledStore{agingStore: h.st}
	s.meddle = func() {
		h.hosts["web01"] = "a" // as long ago, and gc is about to take it
		h.release()
	}
	before := h.keys("")
	if _, err := maintain.GC(t.Context(), s, maintain.GCOptions{Anchor: h.f.Roots[0], Keep: 1}); err == nil ||
		!strings.Contains(err.Error(), "was published meanwhile") {
		t.Error(err)
	}
	for _, key := range before {
		if _, ok := h.st.memStore[key]; !ok {
			t.Errorf("%s is gone", key)
		}
	}
}

// meddledStore has somebody write to it once its claims are being read.
type meddledStore struct {
	*agingStore
	meddle func()
}

func (m *meddledStore) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if f := m.meddle; f != nil && strings.HasPrefix(key, schema.PayloadDir) {
		m.meddle = nil
		f()
	}
	return m.agingStore.Open(ctx, key)
}
