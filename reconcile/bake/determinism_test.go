package bake_test

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/contents"
	"bakehouse/schema"
)

// The bytes of one recipe under bake version 10. A change here means that every package of every fleet changes: raise
// bake.Version, and the codec if segments of the same payload changed, then write the new hashes down. From version 11 on
// docs/bakehouse-agent.8 is the page that the host program's own test writes.
const (
	goldenVersion = 13
	goldenDeb     = "sha256:ad6ef7701a50680bec6bbb055dc5b0f6060005601ef4531fdddc08e705a7ee84"
	goldenRpm     = "sha256:2fe13fbdaeaeefddbc35bfd3c8bfae6faf4bf744de55c9bf644ef396df9402f8"
	goldenTgz     = "sha256:a5c0bf706703aca7800c073b4c0b81643dfb2c809aeef4bc1acff47cc680237c"
)

const (
	goldenPkg = "sha256:61126c8a58071909a5875d09f1f4cd7360cbbe7744e1586ed081ac07330de175"
	goldenMac = "sha256:e82820c401382b83a80f23fd767785f2badc91427548159b3c17db48ee2ca76d"
)

var goldenSegments = []string{"dc467724a23d0038", "53ae73bac4b6c5c8", "f79c75614772f2ef", "3fe431f5088998ef",
	"b4cdff47a66761ba", "3a32d9d396d44bb5", "957ff7895fc69577", "6c3eec0b8ce904b6",
	"3347265b6c603c55", "73f334c8a31aa452", "a2835cc6021b9d68", "122294680cfcfdac"}

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
	carried, err := os.ReadFile("docs/bakehouse-agent.8")
	today, ferr := os.ReadFile("../../agent/cmd/bakehouse-agent/testdata/bakehouse-agent.8")
	if err := errors.Join(err, ferr); err != nil || !bytes.Equal(carried, today) {
		t.Errorf("docs/bakehouse-agent.8 is not the host program's page of today: copy it (%v)", err)
	}
}

func TestTheBytesForOtherSystemsHaveNotChanged(t *testing.T) {
	src := repo{}
	for p, want := range map[schema.Platform]string{
		solaris:                       goldenPkg,
		{OS: "darwin", Arch: "arm64"}: goldenMac,
	} {
		r := example(src, someID, ":9100")
		r.Platform = p
		if got := baked(t, newMemory(), src, r, p.Formats()[0]).Manifest.SHA256.String(); got != want {
			t.Errorf("%s: %s", p, got)
		}
	}
}

func TestTheSameRecipeMakesTheSameBytesAnywhere(t *testing.T) {
	src := repo{}
	for _, format := range formats {
		st := newMemory()
		first := baked(t, st, src, made(example(src, someID, ":9100"), format), format)
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
			r := made(example(src, someID, ":9100"), format)
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

func TestTheSameRecipeMakesTheSameBytesAtAnyTime(t *testing.T) {
	for _, format := range formats {
		src, now := repo{}, time.Now()
		want := baked(t, newMemory(), src, made(example(src, someID, ":9100"), format), format).Digest
		// In a bubble the clock starts in the year 2000.
		synctest.Test(t, func(t *testing.T) {
			if time.Now().Year() == now.Year() {
				t.Error("the clock is the same")
			}
			if got := baked(t, newMemory(), src, made(example(src, someID, ":9100"), format), format).Digest; got != want {
				t.Errorf("%s: manifests %s and, decades before, %s", format, want, got)
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
	if n := len(want.NewSegments); n != 6 || fresh != n || len(st.keys(schema.SegmentDir)) != n || len(st.keys(schema.PayloadDir)) != n {
		t.Errorf("%d new segments, store has %q", fresh, st.keys(""))
	}
}

func TestAFurtherPackageCostsWhatIsDifferent(t *testing.T) {
	cost := func(format schema.Format, extra int) (files, size int) {
		t.Helper()
		rs, src, root := realFleet(noise(1, 100_000), noise(2, 50_000), 2, extra)
		st := newMemory()
		b := bake.New(st, src)
		defer b.Close()
		if _, err := b.Bake(t.Context(), made(rs[0], format), format, root); err != nil {
			t.Fatal(err)
		}
		n := len(st.objects)
		out, err := b.Bake(t.Context(), made(rs[1], format), format, root)
		if err != nil {
			t.Fatal(err)
		}
		if len(out.NewSegments) != 0 || len(st.objects) != n {
			t.Errorf("%s: new segments %v", format, out.NewSegments)
		}
		listed, err := contents.List(format, bytes.NewReader(assembled(t, st, out)))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range listed {
			if strings.HasPrefix(f.Path, "/") && !f.Mode.IsDir() {
				files++
			}
		}
		return files, len(out.Packed)
	}
	for _, format := range formats {
		few, base := cost(format, 0)
		some, twenty := cost(format, 20-few)
		many, more := cost(format, 120-few)
		each := float64(more-twenty) / float64(many-some)
		t.Logf("%s: %d bytes for %d files, %d for %d, %.0f for each further one", format, base, few, twenty, some, each)
		// It is also all that a host fetches of it that has the other one.
		most := 2 << 10
		if format == schema.Pkg {
			most = 5 << 9 // its map says of every file, shared or not, what it is
		}
		if some != 20 || twenty > most || each > 50 {
			t.Errorf("%s: %d bytes for %d files, %.0f for each further one", format, twenty, some, each)
		}
	}
}
