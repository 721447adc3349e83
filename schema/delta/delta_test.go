package delta

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"bakehouse/schema"
)

// bin looks like a bin's metadata: hosts in order, each with hashes that do not compress.
func bin(hosts int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	var b strings.Builder
	b.WriteString(`{"signed":{"_type":"targets","targets":{`)
	for i := range hosts {
		var d schema.Digest
		for j := range d {
			d[j] = byte(r.Uint32())
		}
		fmt.Fprintf(&b, `"host%05d/package":{"length":%d,"hashes":{"sha256":%q},"custom":{"manifest":%q,"ring":"all"}},`,
			i, r.IntN(1<<24), d.Hex(), schema.DigestOf(d[:]))
	}
	b.WriteString(`}}}`)
	return []byte(b.String())
}

func TestDictionaryRoundTrip(t *testing.T) {
	small, large := bin(20, 1), bin(800, 1)
	inserted := bytes.Replace(large, []byte(`"host00100`), []byte(`"host00099a/package":{"length":1},"host00100`), 1)
	for name, c := range map[string]struct{ file, old []byte }{
		"equal":                     {small, small},
		"no old file":               {small, nil},
		"an empty file":             {nil, small},
		"both empty":                {nil, nil},
		"unrelated":                 {bin(900, 2), large},
		"much longer than the old":  {large, small},
		"much shorter than the old": {small, large},
		"an insertion near the top": {inserted, large},
		"exactly one block":         {large[:block], large},
		"exactly two blocks":        {large[:2*block], large},
		"one byte over a block":     {large[:block+1], large},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := Deflate(c.file, c.old)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Inflate(b, c.old, int64(len(c.file)))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, c.file) {
				t.Fatalf("%d bytes came back as %d others", len(c.file), len(got))
			}
			t.Logf("%d bytes against %d: %d", len(c.file), len(c.old), len(b))
		})
	}
}

func TestOneChangedHostCostsLittleAtAnySizeAndPlace(t *testing.T) {
	for _, hosts := range []int{80, 200, 800} {
		for _, at := range []int{0, hosts / 2, hosts - 1} {
			old := bin(hosts, 1)
			mark := fmt.Sprintf(`"host%05d/package":`, at)
			file := bytes.Replace(old, []byte(mark), []byte(`"added/package":{"length":77},`+mark), 1)
			b, err := Deflate(file, old)
			if err != nil {
				t.Fatal(err)
			}
			if limit := 200 + len(file)/80; len(b) > limit {
				t.Errorf("%d hosts, change at %d: %d of %d bytes, more than %d", hosts, at, len(b), len(file), limit)
			}
		}
	}
}

func TestInflateRefusesWhatIsTooLongOrMalformed(t *testing.T) {
	file := bin(400, 3)
	b, err := Deflate(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	one, err := Deflate(file[:100], nil)
	if err != nil {
		t.Fatal(err)
	}
	bomb, err := Deflate(make([]byte, 2<<20), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b     []byte
		limit int64
	}{
		"one byte over the limit":       {b, int64(len(file)) - 1},
		"a bomb":                        {bomb, 1 << 20},
		"truncated":                     {b[:len(b)-1], 1 << 20},
		"empty":                         {nil, 1 << 20},
		"data after the last block":     {append(bytes.Clone(one), one...), 1 << 20},
		"a short block before the last": {append(bytes.Clone(one), b...), 1 << 20},
		"not deflate":                   {[]byte("\xff\xff\xff\xff"), 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Inflate(c.b, nil, c.limit); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func FuzzInflate(f *testing.F) {
	old := bin(200, 4)
	b, err := Deflate(bin(201, 4), old)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, old)
	f.Add([]byte{}, []byte{})
	f.Add([]byte{3, 0, 3, 0}, old)
	f.Fuzz(func(t *testing.T, b, old []byte) {
		const limit = 1 << 16 // more makes it slow, and is no other path
		got, err := Inflate(b, old, limit)
		if err != nil {
			return
		}
		if len(got) > limit {
			t.Fatalf("%d bytes exceed the limit", len(got))
		}
		again, err := Deflate(got, old)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Inflate(again, old, limit); err != nil || !bytes.Equal(back, got) {
			t.Fatalf("does not survive a round trip: %v", err)
		}
	})
}
