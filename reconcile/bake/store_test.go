package bake_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"strings"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// bakeError bakes with a new Baker, as another process would, and returns only the error.
func bakeError(t testing.TB, st bake.Store, src bake.Sources, r *rules.Recipe, format schema.Format) error {
	t.Helper()
	b := bake.New(st, src)
	defer b.Close()
	_, err := b.Bake(t.Context(), r, format, schema.DigestOf(anchor))
	return err
}

// published is a store with the example in it, and the segment of its updater.
func published(t testing.TB) (st *memory, src repo, r *rules.Recipe, ref schema.SegmentRef) {
	t.Helper()
	st, src = newMemory(), repo{}
	r = example(src, someID, ":9100")
	b := baked(t, st, src, r, schema.Deb)
	return st, src, r, b.NewSegments[2]
}

func claimKey(st *memory, ref schema.SegmentRef) string {
	return st.keys(schema.PayloadDir + ref.Payload.Hex()[:2] + "/" + ref.Payload.Hex())[0]
}

func TestAStoreThatWasAlteredIsRefusedAndNotMended(t *testing.T) {
	for name, alter := range map[string]func(st *memory, ref, other schema.SegmentRef){
		"a segment with one bit flipped": func(st *memory, ref, _ schema.SegmentRef) {
			b := bytes.Clone(st.objects[schema.SegmentKey(ref.Digest)])
			b[len(b)/2] ^= 1
			st.objects[schema.SegmentKey(ref.Digest)] = b
		},
		"a segment cut short": func(st *memory, ref, _ schema.SegmentRef) {
			st.objects[schema.SegmentKey(ref.Digest)] = st.objects[schema.SegmentKey(ref.Digest)][:100]
		},
		"a segment with more behind it": func(st *memory, ref, _ schema.SegmentRef) {
			st.objects[schema.SegmentKey(ref.Digest)] = append(bytes.Clone(st.objects[schema.SegmentKey(ref.Digest)]), 0)
		},
		"another valid segment in its place": func(st *memory, ref, other schema.SegmentRef) {
			st.objects[schema.SegmentKey(ref.Digest)] = st.objects[schema.SegmentKey(other.Digest)]
		},
		"a claim that points to another valid segment": func(st *memory, ref, other schema.SegmentRef) {
			st.objects[claimKey(st, ref)] = st.objects[claimKey(st, other)]
		},
		"a claim that points to another valid segment, but names the right payload": func(st *memory, ref, other schema.SegmentRef) {
			other.Payload, other.PayloadSize = ref.Payload, ref.PayloadSize
			st.objects[claimKey(st, ref)] = marshal(other)
		},
		"a claim with another size of the segment": func(st *memory, ref, _ schema.SegmentRef) {
			key := claimKey(st, ref)
			ref.Size--
			st.objects[key] = marshal(ref)
		},
		"a claim to a segment that is not there": func(st *memory, ref, _ schema.SegmentRef) {
			key := claimKey(st, ref)
			ref.Digest[0]++
			st.objects[key] = marshal(ref)
		},
		"a claim that is no JSON": func(st *memory, ref, _ schema.SegmentRef) { st.objects[claimKey(st, ref)] = []byte("{") },
		"a claim that is null":    func(st *memory, ref, _ schema.SegmentRef) { st.objects[claimKey(st, ref)] = []byte("null") },
		"a segment altered whose claim is gone": func(st *memory, ref, other schema.SegmentRef) {
			delete(st.objects, claimKey(st, ref))
			st.objects[schema.SegmentKey(ref.Digest)] = st.objects[schema.SegmentKey(other.Digest)]
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, src, r, ref := published(t)
			other := baked(t, st, src, r, schema.Deb).ReusedSegments[0]
			if other == ref {
				t.Fatal("the two segments are one")
			}
			alter(st, ref, other)
			before := maps.Clone(st.objects)
			err := bakeError(t, st, src, r, schema.Deb)
			if !fault.IsRefusal(err) || !strings.Contains(fault.HintOf(err), "fsck") {
				t.Fatalf("%v, hint %q", err, fault.HintOf(err))
			}
			for k, b := range st.objects {
				if was, ok := before[k]; ok && !bytes.Equal(b, was) {
					t.Errorf("%s was changed", k)
				}
			}
			// It stays refused.
			if err := bakeError(t, st, src, r, schema.Deb); !fault.IsRefusal(err) {
				t.Errorf("the second time: %v", err)
			}
		})
	}
}

func marshal(ref schema.SegmentRef) []byte {
	b, err := json.Marshal(ref)
	if err != nil {
		panic(err)
	}
	return b
}

func TestASegmentThatACleanUpTookAwayIsMadeAgain(t *testing.T) {
	st, src, r, ref := published(t)
	want := bytes.Clone(st.objects[schema.SegmentKey(ref.Digest)])
	delete(st.objects, schema.SegmentKey(ref.Digest))
	b := baked(t, st, src, r, schema.Deb)
	if len(b.NewSegments) != 1 || b.NewSegments[0] != ref || !bytes.Equal(st.objects[schema.SegmentKey(ref.Digest)], want) {
		t.Errorf("new segments: %v", b.NewSegments)
	}
}

func TestABakeThatWasKilledAnywhereConverges(t *testing.T) {
	src := repo{}
	r := example(src, someID, ":9100")
	whole := newMemory()
	want := baked(t, whole, src, r, schema.Deb).Digest
	for after := range len(whole.objects) {
		st := &failing{memory: newMemory(), left: after}
		if err := bakeError(t, st, src, r, schema.Deb); !errors.Is(err, errNoSpace) {
			t.Fatalf("after %d objects: %v", after, err)
		}
		if got := baked(t, st.memory, src, r, schema.Deb).Digest; got != want {
			t.Errorf("after %d objects: manifest %s, want %s", after, got, want)
		}
		for k, b := range whole.objects {
			if !bytes.Equal(st.memory.objects[k], b) {
				t.Errorf("after %d objects: %s differs", after, k)
			}
		}
	}
}

var errNoSpace = errors.New("no space left on device")

// failing is a store that is full after so many objects.
type failing struct {
	*memory
	left int
}

func (f *failing) Create(ctx context.Context, key string, r io.Reader) error {
	if f.left == 0 {
		return errNoSpace
	}
	f.left--
	return f.memory.Create(ctx, key, r)
}

func TestABakerTriesAgainAfterAFailure(t *testing.T) {
	src := repo{}
	r := example(src, someID, ":9100")
	st := &failing{memory: newMemory(), left: 1}
	b := bake.New(st, src)
	defer b.Close()
	if _, err := b.Bake(t.Context(), r, schema.Deb, schema.DigestOf(anchor)); !errors.Is(err, errNoSpace) {
		t.Fatal(err)
	}
	st.left = 100
	if _, err := b.Bake(t.Context(), r, schema.Deb, schema.DigestOf(anchor)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Bake(ctx, r, schema.Deb, schema.DigestOf(anchor)); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Whatever a store claims, a package is the right one or there is none.
func FuzzClaim(f *testing.F) {
	st, src := newMemory(), repo{}
	r := &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{{Plugin: "p", Files: []fleet.File{src.file("/usr/bin/p", 0o755, []byte("p"))}}}}
	first := baked(f, st, src, r, schema.Tgz)
	want, ref := first.Digest, first.NewSegments[1]
	f.Add(st.objects[claimKey(st, ref)])
	f.Add(st.objects[claimKey(st, first.NewSegments[0])])
	f.Add([]byte(`{"digest":"","size":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		hostile := &memory{objects: maps.Clone(st.objects)}
		hostile.objects[claimKey(hostile, ref)] = b
		baker := bake.New(hostile, src)
		defer baker.Close()
		out, err := baker.Bake(t.Context(), r, schema.Tgz, schema.DigestOf(anchor))
		if err == nil && out.Digest != want || err != nil && !fault.IsRefusal(err) {
			t.Errorf("%v", err)
		}
	})
}
