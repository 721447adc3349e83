package bake_test

import (
	"bytes"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/schema"
)

// The bytes of one recipe under bake version 2. A change here means that every package of every fleet changes: raise
// bake.Version and the codec with it, then write the new hashes down.
const (
	goldenVersion = 2
	goldenDeb     = "sha256:6aed37ed75b5664daa2eb8ff460b7e2efb4417ae5944234a8a83c637ca99e6f4"
	goldenRpm     = "sha256:d651e9f109f24f0161eb2fbd5cecf6b6d226603c5e6126435df50930daba44b4"
	goldenTgz     = "sha256:36c19a3389ae7d3193352557ed376313c8a30ff8a45feb4af2c1f5187c6cd9c5"
)

var goldenSegments = []string{"80e77fd789e120e9", "53ae73bac4b6c5c8", "f79c75614772f2ef", "386cad98147e87d0",
	"4f6dacb745b7864d", "6c3eec0b8ce904b6", "3347265b6c603c55"}

func TestTheBytesOfThisBakeVersionHaveNotChanged(t *testing.T) {
	st, src := newMemory(), repo{}
	r := example(src, someID, ":9100")
	deb, rpm, tgz := baked(t, st, src, r, schema.Deb), baked(t, st, src, r, schema.Rpm), baked(t, st, src, r, schema.Tgz)
	var segments []string
	for _, s := range slices.Concat(deb.NewSegments, rpm.NewSegments) {
		segments = append(segments, s.Digest.Short())
	}
	if bake.Version != goldenVersion || deb.Manifest.SHA256.String() != goldenDeb || tgz.Manifest.SHA256.String() != goldenTgz ||
		rpm.Manifest.SHA256.String() != goldenRpm || !slices.Equal(segments, goldenSegments) {
		t.Errorf("version %d\ndeb %s\nrpm %s\ntgz %s\nsegments %q", bake.Version, deb.Manifest.SHA256, rpm.Manifest.SHA256, tgz.Manifest.SHA256, segments)
	}
}

func TestTheSameRecipeMakesTheSameBytesAnywhere(t *testing.T) {
	src := repo{}
	for _, format := range []schema.Format{schema.Deb, schema.Rpm, schema.Tgz} {
		st := newMemory()
		first := baked(t, st, src, example(src, someID, ":9100"), format)
		want := assembled(t, st, first)
		t.Run(string(format), func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			t.Setenv("HOME", "/nowhere")
			t.Setenv("SOURCE_DATE_EPOCH", "12345")
			t.Setenv("LC_ALL", "tr_TR.UTF-8")
			t.Chdir(t.TempDir())
			local := time.Local
			time.Local = time.FixedZone("far", 13*3600)
			umask := setUmask(0o077)
			procs := runtime.GOMAXPROCS(1)
			defer func() { time.Local = local; setUmask(umask); runtime.GOMAXPROCS(procs) }()
			r := example(src, someID, ":9100")
			slices.Reverse(r.Outputs)
			for _, o := range r.Outputs {
				slices.Reverse(o.Files)
			}
			other := newMemory()
			// Another package first, with some of the same segments.
			baked(t, other, src, example(src, "ffffffffffffffff", ":1"), schema.Deb)
			second := baked(t, other, src, r, format)
			if second.Digest != first.Digest {
				t.Errorf("manifests %s and %s", first.Digest, second.Digest)
			}
			if !bytes.Equal(assembled(t, other, second), want) {
				t.Error("packages differ")
			}
		})
	}
}

func TestManyBakedAtOnceMakeEachSegmentOnce(t *testing.T) {
	st, src := newMemory(), repo{}
	want := baked(t, newMemory(), src, example(src, someID, ":9100"), schema.Deb)
	b := bake.New(st, src)
	defer b.Close()
	var wg sync.WaitGroup
	var mu sync.Mutex
	fresh := 0
	r := example(src, someID, ":9100")
	for range 8 {
		wg.Go(func() {
			out, err := b.Bake(t.Context(), r, schema.Deb, schema.DigestOf(anchor))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fresh += len(out.NewSegments)
			if out.Digest != want.Digest {
				t.Errorf("manifest %s, want %s", out.Digest, want.Digest)
			}
		})
	}
	wg.Wait()
	if n := len(want.NewSegments); n != 4 || fresh != n || len(st.keys(schema.SegmentDir)) != n || len(st.keys(schema.PayloadDir)) != n {
		t.Errorf("%d new segments, store has %q", fresh, st.keys(""))
	}
}

func TestAFurtherPackageCostsWhatIsDifferent(t *testing.T) {
	st, src := newMemory(), repo{}
	baked(t, st, src, example(src, someID, ":9100"), schema.Deb)
	n := len(st.objects)
	b := baked(t, st, src, example(src, "ffffffffffffffff", ":9200"), schema.Deb)
	if len(b.NewSegments) != 0 || len(b.ReusedSegments) != 4 || len(st.objects) != n {
		t.Errorf("new %v, reused %v", b.NewSegments, b.ReusedSegments)
	}
	if len(b.Packed) > 3<<10 {
		t.Errorf("its manifest takes %d bytes", len(b.Packed))
	}
	t.Logf("manifest: %d bytes; package: %d bytes", len(b.Packed), b.Manifest.Size)
}
