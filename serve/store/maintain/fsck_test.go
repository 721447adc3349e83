package maintain_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
	"bakehouse/serve/store/storetest"
)

type memory = storetest.Memory

func twoReleases() memory { return maps.Clone(bothReleases()) }

var bothReleases = sync.OnceValue(func() memory {
	m := memory{}
	for n := int64(1); n <= 2; n++ {
		for _, o := range storetest.Release(n) {
			m[o.Key] = o.Data
		}
	}
	return m
})

// findings runs Fsck and returns the errors and notes as "key: text" lines.
func findings(t interface{ Fatal(...any) }, s store.Store) (errs, notes []string) {
	sum, err := maintain.Fsck(context.Background(), s, true, func(f maintain.Finding) {
		line := f.Key + ": " + f.Err.Error()
		if f.Note {
			notes = append(notes, line)
		} else {
			errs = append(errs, line)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Errors != len(errs) || sum.Notes != len(notes) {
		t.Fatal("the summary counts", sum.Errors, sum.Notes, "of", len(errs), len(notes))
	}
	return errs, notes
}

// of2 is the key of release 2's own object of a kind.
func of2(dir string, nth int) string {
	old := twoReleases()
	for _, o := range storetest.Release(1) {
		delete(old, o.Key)
	}
	for _, o := range storetest.Release(2) {
		if _, own := old[o.Key]; own && strings.HasPrefix(o.Key, dir) {
			if nth == 0 {
				return o.Key
			}
			nth--
		}
	}
	panic("no such object: " + dir)
}

func TestASoundStoreHasNoFindings(t *testing.T) {
	errs, notes := findings(t, twoReleases())
	if len(errs)+len(notes) > 0 {
		t.Errorf("%q %q", errs, notes)
	}
}

func TestFsckFinds(t *testing.T) {
	segment, claim, manifest := of2(schema.SegmentDir, 0), of2(schema.PayloadDir, 0), of2(schema.ManifestDir, 0)
	statement, policy := of2(schema.StatementDir, 0), of2(schema.TargetDir, 0)
	file := schema.SourceFileKey(schema.DigestOf([]byte("program")))
	reclaim := func(m memory, change func(*schema.SegmentRef)) {
		var ref schema.SegmentRef
		if err := json.Unmarshal(m[claim], &ref); err != nil {
			panic(err)
		}
		change(&ref)
		m[claim], _ = json.Marshal(ref)
	}
	// resegment puts other bytes where the claim points, as a whole valid object.
	resegment := func(m memory, data []byte) {
		d := schema.DigestOf(data)
		m[schema.SegmentKey(d)] = data
		reclaim(m, func(ref *schema.SegmentRef) { ref.Digest, ref.Size = d, int64(len(data)) })
	}
	treeOf2 := of2(schema.TreeDir, 0)
	for _, test := range []struct {
		name  string
		alter func(m memory)
		want  map[string]string // text of the error by key
	}{
		{"a segment with other bytes", func(m memory) { m[segment] = []byte("other") },
			map[string]string{segment: "is altered"}},
		{"a valid segment in the place of another", func(m memory) { m[segment] = storetest.Release(1)[0].Data },
			map[string]string{segment: "is altered"}},
		{"a missing segment", func(m memory) { delete(m, segment) },
			map[string]string{manifest: "is missing", claim: "is missing"}},
		{"a source file with other bytes", func(m memory) { m[file] = []byte("other program") },
			map[string]string{file: "is altered"}},
		{"a target with other bytes", func(m memory) { m[policy] = []byte("{}") },
			map[string]string{policy: "is altered"}},
		{"a missing target", func(m memory) { delete(m, policy) },
			map[string]string{policy: "target policy, which metadata/2.targets.json of the newest release names"}},
		{"a manifest with other bytes", func(m memory) { m[manifest] = []byte("other") },
			map[string]string{manifest: "EOF"}},
		{"another package's manifest", func(m memory) { m[manifest] = storetest.Release(1)[4].Data },
			map[string]string{manifest: "bytes have digest"}},
		{"a missing manifest", func(m memory) { delete(m, manifest) },
			map[string]string{manifest: "the manifest of target web01/package"}},
		{"a package without a statement", func(m memory) { delete(m, statement) },
			map[string]string{manifest: "has no sound statement"}},
		{"a statement on another package", func(m memory) { m[statement] = storetest.Release(1)[5].Data },
			map[string]string{statement: "is a statement on manifest", manifest: "has no sound statement"}},
		{"a statement that is none", func(m memory) { m[statement] = []byte(`{"payloadType":"x"}`) },
			map[string]string{statement: "is no statement", manifest: "has no sound statement"}},
		{"a claim to another valid segment", func(m memory) { resegment(m, storetest.Release(1)[0].Data) },
			map[string]string{claim: "is altered"}},
		{"a claim of another payload", func(m memory) { m[claim] = storetest.Release(1)[1].Data },
			map[string]string{claim: "claims payload"}},
		{"a claim with a wrong size", func(m memory) { reclaim(m, func(r *schema.SegmentRef) { r.Size++ }) },
			map[string]string{claim: "bytes of segment"}},
		{"a claim with too small a payload", func(m memory) { reclaim(m, func(r *schema.SegmentRef) { r.PayloadSize = 1 }) },
			map[string]string{claim: "is altered"}},
		{"a segment with more than the payload", func(m memory) { resegment(m, append(bytes.Clone(m[segment]), storetest.Deflate("more")...)) },
			map[string]string{claim: "does not end where its payload does"}},
		{"a segment that swallows what follows", func(m memory) { resegment(m, append(bytes.Clone(m[segment]), 0, 5, 0, 0xfa, 0xff)) },
			map[string]string{claim: "does not end where its payload does"}},
		{"a claim with an absurd payload size", func(m memory) { reclaim(m, func(r *schema.SegmentRef) { r.PayloadSize = 1<<63 - 1 }) },
			map[string]string{claim: "is altered"}},
		{"a claim to what does not inflate", func(m memory) { resegment(m, []byte("\xff\xff\xff")) },
			map[string]string{claim: "does not inflate"}},
		{"a segment that ends within a block", func(m memory) { resegment(m, m[segment][:len(m[segment])-4]) },
			map[string]string{claim: "segment"}},
		{"a segment that ends its stream", func(m memory) { resegment(m, append(bytes.Clone(m[segment]), 1, 0, 0, 0xff, 0xff)) },
			map[string]string{claim: "does not end where its payload does"}},
		{"a claim that is not JSON", func(m memory) { m[claim] = nil }, map[string]string{claim: "claim: "}},
		{"metadata under another version", func(m memory) { m["metadata/2.bin-0.json"] = m["metadata/1.bin-0.json"] },
			map[string]string{"metadata/2.bin-0.json": "not what its name says"}},
		{"metadata of another role", func(m memory) { m["metadata/2.targets.json"] = m["metadata/2.snapshot.json"] },
			map[string]string{"metadata/2.targets.json": "not what its name says"}},
		{"cut metadata", func(m memory) { m["metadata/1.root.json"] = m["metadata/1.root.json"][:10] },
			map[string]string{"metadata/1.root.json": "metadata: "}},
		{"missing metadata", func(m memory) { delete(m, "metadata/2.snapshot.json") },
			map[string]string{"metadata/2.snapshot.json": "is missing"}},
		{"a missing bin", func(m memory) { delete(m, "metadata/2.bin-0.json") },
			map[string]string{"metadata/2.bin-0.json": "which metadata/2.snapshot.json of the newest release names"}},
		{"a missing bin of an older release", func(m memory) { delete(m, "metadata/1.bin-0.json") },
			map[string]string{"metadata/1.bin-0.json": "which metadata/1.snapshot.json of the release at timestamp 1 names"}},
		{"an older release whose timestamp gc took before it was cut off", func(m memory) {
			delete(m, schema.TimestampKey(1))
			delete(m, "metadata/1.bin-0.json")
		}, nil},
		{"an empty timestamp", func(m memory) { m[schema.TimestampKey(2)] = nil },
			map[string]string{schema.TimestampKey(2): "metadata: "}},
		{"a timestamp under another version", func(m memory) { m[schema.TimestampKey(3)] = m[schema.TimestampKey(2)] },
			map[string]string{schema.TimestampKey(3): "not what its name says"}},
		{"a null target", func(m memory) {
			m["metadata/2.targets.json"] = []byte(`{"signed":{"_type":"targets","version":2,"targets":{"a":null}},"signatures":[{}]}`)
		}, map[string]string{"metadata/2.targets.json": "is altered"}},
		{"another bin under the same version", func(m memory) {
			m["metadata/2.bin-0.json"] = bytes.Replace(m["metadata/2.bin-0.json"], []byte("web01"), []byte("web02"), 1)
		}, map[string]string{"metadata/2.bin-0.json": "is altered"}},
		{"a snapshot without a tree", func(m memory) {
			m["metadata/2.snapshot.json"] = []byte(`{"signed":{"_type":"snapshot","version":2,"meta":{` +
				`"targets.json":{"version":2},"bin-0.json":{"version":2}}},"signatures":[{}]}`)
		}, map[string]string{"metadata/2.snapshot.json": "names no tree"}},
		{"a snapshot that lists another version than its tree", func(m memory) {
			m["metadata/2.snapshot.json"] = bytes.Replace(m["metadata/2.snapshot.json"],
				[]byte(`"bin-0.json":{"version":2}`), []byte(`"bin-0.json":{"version":1}`), 1)
		}, map[string]string{"metadata/2.snapshot.json": "in another version than its tree"}},
		{"a missing tree", func(m memory) { delete(m, treeOf2) }, map[string]string{treeOf2: "is missing: the tree"}},
		{"an altered tree", func(m memory) { m[treeOf2] = bytes.ToUpper(m[treeOf2]) },
			map[string]string{treeOf2: "line 1"}},
		{"names that are no digests", func(m memory) {
			m["segments/ab/short"], m["manifests/ab/short"], m["payloads/ab/short"], m["statements/short/k.json"] = nil, nil, nil, nil
		}, map[string]string{"segments/ab/short": "hex", "manifests/ab/short": "hex", "payloads/ab/short": "hex", "statements/short/k.json": "hex"}},
		{"an object in the wrong directory", func(m memory) { m["segments/00/"+segment[len("segments/00/"):]] = m[segment] },
			map[string]string{"segments/00/" + segment[len("segments/00/"):]: "belongs at"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := twoReleases()
			m[file] = []byte("program")
			test.alter(m)
			errs, _ := findings(t, m)
			for key, text := range test.want {
				if !slices.ContainsFunc(errs, func(e string) bool { return strings.HasPrefix(e, key+": ") && strings.Contains(e, text) }) {
					t.Errorf("no error on %s that says %q", key, text)
				}
			}
			if len(errs) != len(test.want) || t.Failed() {
				t.Errorf("errors: %s", strings.Join(errs, "\n"))
			}
		})
	}
}

func TestWhatACrashedRunLeftIsNotedAndNoError(t *testing.T) {
	third := storetest.Release(3)
	for n := range len(third) {
		m := twoReleases()
		for _, o := range third[:n] {
			m[o.Key] = o.Data
		}
		errs, notes := findings(t, m)
		if len(errs) > 0 {
			t.Errorf("after %d objects: %q", n, errs)
		}
		var noted, want []string
		for _, line := range notes {
			noted = append(noted, strings.SplitN(line, ": ", 2)[0])
		}
		for i, o := range third[:n] {
			if _, old := twoReleases()[o.Key]; old {
				continue
			}
			switch dir, _, _ := strings.Cut(o.Key, "/"); dir + "/" {
			case schema.MetadataDir, schema.TreeDir, schema.TargetDir, schema.ManifestDir:
				want = append(want, o.Key)
			case schema.SegmentDir:
				if i == n-1 { // before its claim
					want = append(want, o.Key)
				}
			}
		}
		slices.Sort(noted)
		slices.Sort(want)
		if !slices.Equal(noted, want) {
			t.Errorf("after %d objects noted:\n%s\nwant:\n%s", n, strings.Join(noted, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestWhatThisVersionDoesNotKnowIsNoted(t *testing.T) {
	m := twoReleases()
	claim := of2(schema.PayloadDir, 0)
	later := strings.Replace(claim, ".deflate1", ".zstd1", 1)
	m["novelty/x"], m[later] = nil, m[claim]
	errs, notes := findings(t, m)
	if len(errs) != 0 || len(notes) != 2 || !strings.Contains(notes[0], "zstd1") || !strings.Contains(notes[1], "novelty/x") {
		t.Errorf("errors %q, notes %q", errs, notes)
	}
}

func TestFsckHasNothingToSayOfWhatIsReserved(t *testing.T) {
	m := twoReleases()
	for _, key := range []string{"log/checkpoint", "log/tile/0/x001/067", "deltas/xx/1.zst"} {
		if err := schema.CheckKey(key); err != nil {
			t.Error(err)
		}
		m[key] = []byte("later")
	}
	if errs, notes := findings(t, m); len(errs)+len(notes) > 0 {
		t.Errorf("errors %q, notes %q", errs, notes)
	}
}

func TestAFlippedBitInWhatIsAddressedByContentIsAlwaysFound(t *testing.T) {
	sound := twoReleases()
	var keys []string
	for key := range sound {
		switch dir, _, _ := strings.Cut(key, "/"); dir + "/" {
		case schema.SegmentDir, schema.TargetDir, schema.ManifestDir:
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	rapid.Check(t, func(r *rapid.T) {
		key := rapid.SampledFrom(keys).Draw(r, "key")
		bit := rapid.IntRange(0, 8*len(sound[key])-1).Draw(r, "bit")
		m := maps.Clone(sound)
		m[key] = bytes.Clone(sound[key])
		m[key][bit/8] ^= 1 << (bit % 8)
		errs, _ := findings(r, m)
		if slices.ContainsFunc(errs, func(e string) bool { return strings.HasPrefix(e, key+": ") }) {
			return
		}
		// gzip has bits that mean nothing: time, system, padding. Then the manifest is the same one.
		d, _ := schema.ParseHex(key[len(key)-64:])
		if _, err := schema.DecodeManifest(m[key], d); err != nil || !strings.HasPrefix(key, schema.ManifestDir) || len(errs) > 0 {
			r.Fatalf("not found, but %q", errs)
		}
	})
}

// faulty fails to open or read one object.
type faulty struct {
	storetest.Memory
	key string
	err error
}

func (f faulty) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if key == f.key {
		return nil, f.err
	}
	return f.Memory.Open(ctx, key)
}

func TestAStoreThatCannotBeReadIsNotReportedAsAltered(t *testing.T) {
	for key := range twoReleases() {
		_, err := maintain.Fsck(t.Context(), faulty{twoReleases(), key, syscall.EIO}, false, func(f maintain.Finding) {
			t.Errorf("%s cannot be read: %s: %v", key, f.Key, f.Err)
		})
		if !errors.Is(err, syscall.EIO) || fault.ExitCode(err) != fault.ExitError {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestFsckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := maintain.Fsck(ctx, twoReleases(), false, func(maintain.Finding) {}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// growing lists what there was before a reconcile and opens what there is after it.
type growing struct {
	memory // after
	before memory
}

func (g growing) List(ctx context.Context, prefix, after string) iter.Seq2[store.Entry, error] {
	return g.before.List(ctx, prefix, after)
}

func TestAReconcileDuringFsckIsNoError(t *testing.T) {
	// The listing met the manifest and missed its segments, which were created while it went on.
	before := twoReleases()
	for key := range before {
		if strings.HasPrefix(key, schema.SegmentDir) {
			delete(before, key)
		}
	}
	if errs, _ := findings(t, growing{twoReleases(), before}); len(errs) > 0 {
		t.Errorf("%q", errs)
	}
}

func FuzzFsck(f *testing.F) {
	kinds := []string{}
	for i, o := range storetest.Release(1) {
		kinds = append(kinds, o.Key)
		f.Add(uint8(i), o.Data)
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		m := twoReleases()
		key := kinds[int(kind)%len(kinds)]
		same := bytes.Equal(m[key], data)
		m[key] = data
		errs, _ := findings(t, m)
		if same && len(errs) > 0 {
			t.Errorf("unaltered, but %q", errs)
		}
	})
}
