package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

// published is a published state as this test knows it.
type published struct {
	timestamp int64
	number    int64
	content   string // of the target "release"
	at        time.Time
	packages  map[schema.Candidate]bool // of all hosts, older candidates included
}

// history is a store and what was published in it.
type history struct {
	oven
	st      *agingStore
	random  *rand.Rand
	hosts   map[string]string // what they are to be given
	enabled bool
	states  []published // those that the store should still have
	dirty   bool        // a run was killed since the last release
	killed  bool        // or at any time
}

// release publishes the present wishes. It reports whether that came to its end.
func (h *history) release() {
	h.t.Helper()
	n := next(h.st.now)
	n.Policy.Enabled = h.enabled
	n.Release.Commit = fmt.Sprintf("commit %d", h.random.Uint64())
	for _, host := range slices.Sorted(maps.Keys(h.hosts)) {
		a, err := h.bake(h.st, host, h.hosts[host])
		if errors.Is(err, errKilled) {
			h.dirty, h.killed = true, true
			return
		}
		if err != nil {
			h.t.Fatal(err)
		}
		n.Assignments = append(n.Assignments, a)
	}
	sum, err := h.f.publish(h.st, n)
	if errors.Is(err, errKilled) {
		h.dirty, h.killed = true, true
		return
	}
	if err != nil {
		h.t.Fatal(err)
	}
	if !sum.Published {
		return
	}
	h.dirty = false
	s := h.verified()
	content, _ := json.Marshal(s.Release())
	p := published{timestamp: s.Head(), number: s.Release().Number, content: string(content), at: h.st.now,
		packages: map[schema.Candidate]bool{}}
	for _, a := range s.Assignments() {
		for _, c := range a.Candidates() {
			p.packages[c] = true
		}
	}
	h.states = append(h.states, p)
}

func (h *history) verified() *State {
	h.t.Helper()
	s, err := Read(h.t.Context(), h.st, h.f.Fleet, h.st.now)
	if err != nil {
		h.t.Fatalf("the published state: %v", err)
	}
	return s
}

// kept is which states a gc leaves, found the slow and plain way.
func (h *history) kept(keep int, grace time.Duration) (kept []published) {
	last := h.states[len(h.states)-1]
	for i, s := range h.states {
		within := func(at time.Time) bool { return h.st.now.Sub(at) < grace }
		newestOfItsKind := !slices.ContainsFunc(h.states[i+1:],
			func(later published) bool { return later.content == s.content })
		if i == len(h.states)-1 || within(s.at) || within(h.states[i+1].at) ||
			s.number > last.number-int64(keep) && newestOfItsKind {
			kept = append(kept, s)
		}
	}
	return kept
}

// check holds that the store has these states whole, and that nothing in it is wrong.
func (h *history) check(states []published) {
	h.t.Helper()
	ctx := h.t.Context()
	for _, s := range states {
		for c := range s.packages {
			b, err := store.Read(ctx, h.st, schema.ManifestKey(c.Manifest), schema.MaxManifest)
			if err != nil {
				h.t.Fatalf("release %d: %v", s.number, err)
			}
			m, err := schema.DecodeManifest(b, c.Manifest)
			if err == nil {
				err = m.Assemble(io.Discard, func(ref schema.SegmentRef) (io.ReadCloser, error) {
					return h.st.Open(ctx, schema.SegmentKey(ref.Digest))
				})
			}
			if err != nil || m.SHA256 != c.SHA256 {
				h.t.Fatalf("release %d: package %s does not assemble: %v", s.number, c.SHA256.Short(), err)
			}
			if len(h.keys(schema.StatementsPrefix(c.Manifest))) == 0 {
				h.t.Fatalf("release %d: package %s has no statement", s.number, c.SHA256.Short())
			}
		}
	}
	if _, err := maintain.Fsck(ctx, h.st, false, func(f maintain.Finding) {
		if !f.Note {
			h.t.Errorf("fsck: %s: %v", f.Key, f.Err)
		}
	}); err != nil || h.t.Failed() {
		h.t.Fatal(err)
	}
}

// whole holds that every timestamp leads to a whole state, whichever they are.
func (h *history) whole(after string) {
	h.t.Helper()
	left := h.keys(schema.TimestampDir)
	var states []published
	for _, s := range h.states {
		if slices.Contains(left, schema.TimestampKey(s.timestamp)) {
			states = append(states, s)
		}
	}
	old, err := maintain.OpenHistory(h.t.Context(), h.st, h.f.Roots[0])
	if err != nil {
		h.t.Fatal(err)
	}
	for _, s := range states {
		state, err := old.At(h.t.Context(), s.timestamp)
		if err != nil {
			h.t.Fatalf("after %s was deleted: %v", after, err)
		}
		for _, err := range state.Assignments(h.t.Context(), nil) {
			if err != nil {
				h.t.Fatalf("after %s was deleted: %v", after, err)
			}
		}
	}
	h.check(states)
}

func (h *history) keys(prefix string) (keys []string) {
	for e := range h.st.List(h.t.Context(), prefix, "") {
		keys = append(keys, e.Key)
	}
	return keys
}

// gc collects garbage, cut off a few times if it comes to that.
func (h *history) gc(keep int, grace time.Duration) {
	h.t.Helper()
	want := h.kept(keep, grace)
	o := maintain.GCOptions{Anchor: h.f.Roots[0], Keep: keep, Grace: grace, DryRun: true}
	before := h.keys("")
	dry, err := maintain.GC(h.t.Context(), h.st, o)
	if err != nil {
		h.t.Fatal(err)
	}
	if !slices.Equal(before, h.keys("")) {
		h.t.Fatal("a dry run deleted something")
	}
	o.DryRun = false
	last := ""
	h.st.deleting = func(key string) {
		// Within a kind the order is any, so its first object and its last tell enough; a few more for good measure.
		if kind, _, _ := strings.Cut(key, "/"); kind != last || h.random.IntN(10) == 0 {
			last = kind
			h.whole(key)
		}
	}
	if h.random.IntN(3) == 0 {
		h.st.deletes = h.random.IntN(20)
		_, err := maintain.GC(h.t.Context(), h.st, o)
		if err != nil && !errors.Is(err, errKilled) {
			h.t.Fatal(err)
		}
		h.st.deletes = -1
	}
	r, err := maintain.GC(h.t.Context(), h.st, o)
	if err != nil {
		h.t.Fatal(err)
	}
	h.st.deleting = nil
	if !slices.Equal(dry.States, r.States) {
		h.t.Fatalf("the dry run keeps %+v, the run %+v", dry.States, r.States)
	}
	h.check(want)
	var timestamps []string
	for _, s := range want {
		timestamps = append(timestamps, schema.TimestampKey(s.timestamp))
	}
	if got := h.keys(schema.TimestampDir); !slices.Equal(got, timestamps) {
		h.t.Fatalf("kept %q, want %q", got, timestamps)
	}
	if after, err := maintain.GC(h.t.Context(), h.st, o); err != nil ||
		slices.ContainsFunc(after.Kinds, func(k maintain.KindTally) bool { return k.Freed.Objects > 0 }) {
		h.t.Fatalf("a second run finds more to delete: %+v, %v", after, err)
	}
	// A killed run may have left a bin above the newest state's, which the next release had no reason to step over.
	spares := func(k maintain.KindTally) bool { return k.Spared.Objects > 0 }
	if !slices.ContainsFunc(r.Kinds, spares) {
		h.nothingElse(want)
	} else if grace == 0 && !h.dirty && !h.killed {
		h.t.Fatalf("spared without a reason: %+v", r.Kinds)
	}
	h.states = want
	h.verified()
}

// nothingElse holds that the store has no package but those of these states.
func (h *history) nothingElse(states []published) {
	h.t.Helper()
	manifests, segments := map[string]bool{}, map[string]bool{}
	for _, s := range states {
		for c := range s.packages {
			manifests[schema.ManifestKey(c.Manifest)] = true
			b, err := store.Read(h.t.Context(), h.st, schema.ManifestKey(c.Manifest), schema.MaxManifest)
			if err != nil {
				h.t.Fatal(err)
			}
			m, err := schema.DecodeManifest(b, c.Manifest)
			if err != nil {
				h.t.Fatal(err)
			}
			for _, ref := range m.Segments() {
				segments[schema.SegmentKey(ref.Digest)] = true
			}
		}
	}
	if got := h.keys(schema.ManifestDir); !slices.Equal(got, slices.Sorted(maps.Keys(manifests))) {
		h.t.Fatalf("left: manifests %q, needed: %q", got, slices.Sorted(maps.Keys(manifests)))
	}
	if got := h.keys(schema.SegmentDir); !slices.Equal(got, slices.Sorted(maps.Keys(segments))) {
		h.t.Fatalf("left: segments %q, needed: %q", got, slices.Sorted(maps.Keys(segments)))
	}
	if got, want := len(h.keys(schema.PayloadDir)), len(segments); got != want {
		h.t.Fatalf("%d claims on %d segments", got, want)
	}
}

func newHistory(t *testing.T, seed uint64) *history {
	f := newFleet(t)
	return &history{oven: oven{f, t}, st: newAgingStore(), random: rand.New(rand.NewPCG(seed, 0)),
		hosts: map[string]string{"web01": "a"}}
}

// Random histories: releases, renewals, roots that drop a key, runs that are killed, and collections, themselves
// killed.
func TestGCNeverRemovesWhatAnyKeptReleaseNeeds(t *testing.T) {
	t.Parallel()
	base := rand.Uint64()
	t.Logf("seed %d", base)
	histories := uint64(1)
	if needs.Everything() {
		histories = 4
	}
	for i := range histories {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, base+i)
			h.release()
			for range 12 {
				h.st.now = h.st.now.Add(time.Duration(h.random.IntN(40)) * time.Hour)
				switch h.random.IntN(10) {
				case 0:
					delete(h.hosts, fmt.Sprintf("web0%d", h.random.IntN(4)))
				case 1:
					h.enabled = !h.enabled
				case 2: // only time passes: signatures are renewed
					h.st.now = h.st.now.Add(5 * day)
				case 3:
					if h.dirty || len(h.f.Roots) > 2 {
						continue // what a killed run leaves may be of the old root
					}
					h.f.rotate([]string{"targets", "snapshot", "timestamp"}[h.random.IntN(3)])
				case 4:
					h.st.creates = h.random.IntN(30)
					h.hosts["web01"] = string('a' + rune(h.random.IntN(9)))
				default:
					h.hosts[fmt.Sprintf("web0%d", h.random.IntN(4))] = string('a' + rune(h.random.IntN(9)))
				}
				h.release()
				h.st.creates = -1
				if h.random.IntN(3) == 0 {
					h.gc(1+h.random.IntN(4), []time.Duration{0, 0, time.Hour, 3 * day}[h.random.IntN(4)])
				}
			}
			h.release()
			h.gc(1, 0)
		})
	}
}
