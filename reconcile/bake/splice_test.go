package bake

import (
	"bufio"
	"bytes"
	stdgzip "compress/gzip"
	"fmt"
	"hash/crc32"
	"io"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/flate"
	"pgregory.net/rapid"

	"bakehouse/reconcile/bake/crc"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// text is bytes that a compressor has work with: few letters, repetitions, at times noise.
func text(t *rapid.T, most int) []byte {
	letters := rapid.SliceOfN(rapid.Byte(), 1, rapid.SampledFrom([]int{1, 4, 256}).Draw(t, "alphabet")).Draw(t, "letters")
	n := rapid.IntRange(0, most).Draw(t, "length")
	state := rapid.Uint64().Draw(t, "seed") | 1
	b := make([]byte, 0, n)
	for len(b) < n {
		state = state*6364136223846793005 + 1442695040888963407
		if r := int(state >> 40); r%7 == 0 && len(b) > 8 {
			from := r % len(b)
			b = append(b, b[from:min(from+r%300, len(b))]...)
			continue
		}
		b = append(b, letters[int(state>>33)%len(letters)])
	}
	return b[:n]
}

func TestTheChecksumOfTwoPartsIsThatOfTheWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := text(t, 5000), text(t, 5000)
		got := crc.Combine(crc32.ChecksumIEEE(a), crc32.ChecksumIEEE(b), int64(len(b)))
		if want := crc32.ChecksumIEEE(append(a, b...)); got != want {
			t.Fatalf("%08x, want %08x", got, want)
		}
	})
}

func TestTheChecksumIsRightForPartsBeyond4GiB(t *testing.T) {
	// 2^33 + 1 zeros, cut in two ways that share no intermediate result: by doubling, and by powers of three.
	zeros := func(factor, n int64) uint32 {
		unit, k := crc32.ChecksumIEEE([]byte{0}), int64(1)
		var sum uint32
		for ; n > 0; n /= factor {
			for range n % factor {
				sum = crc.Combine(sum, unit, k)
			}
			one := unit
			for range factor - 1 {
				unit = crc.Combine(unit, one, k)
			}
			k *= factor
		}
		return sum
	}
	if a, b := zeros(2, 1<<33+1), zeros(3, 1<<33+1); a != b {
		t.Errorf("%08x and %08x", a, b)
	}
	if got, want := zeros(3, 100_000), crc32.ChecksumIEEE(make([]byte, 100_000)); got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

func TestCompressedBytesDependOnTheContentOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := text(t, rapid.SampledFrom([]int{300, 5_000, 5_000, 100_000}).Draw(t, "most"))
		last := rapid.Bool().Draw(t, "last")
		history := text(t, rapid.SampledFrom([]int{0, 100, 5_000, window}).Draw(t, "history"))
		fresh := func() []byte {
			var b bytes.Buffer
			z, err := flate.NewWriterDict(&b, level, history)
			if err != nil {
				t.Fatal(err)
			}
			z.Write(raw)
			if last {
				z.Close()
			} else {
				z.Flush()
			}
			return b.Bytes()
		}
		want := fresh()
		// The pool's compressors have seen the other runs.
		for name, r := range map[string]io.Reader{"halves": iotest.HalfReader(bytes.NewReader(raw)), "data with EOF": iotest.DataErrReader(bufio.NewReaderSize(bytes.NewReader(raw), 777))} {
			var b bytes.Buffer
			if err := deflateTo(&b, r, history, last); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Bytes(), want) {
				t.Fatalf("%s: other bytes than from a new compressor", name)
			}
		}
	})
}

// asSegment is z as the segment of a payload, whether it is or not.
func asSegment(t testing.TB, z, payload []byte) *segment {
	t.Helper()
	f := (&segments{}).newPrivate()
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(z); err != nil {
		t.Fatal(err)
	}
	return &segment{bytes: f, crc: crc32.ChecksumIEEE(payload), tail: payload[max(0, len(payload)-window):], ref: schema.SegmentRef{Digest: schema.DigestOf(z), Size: int64(len(z)),
		Payload: schema.DigestOf(payload), PayloadSize: int64(len(payload))}}
}

// gunzip reads a stream as dpkg does: the first member, and nothing may come behind it.
func gunzip(s *stream) ([]byte, error) {
	var file bytes.Buffer
	for _, p := range s.parts {
		if p.segment == nil {
			file.Write(p.data)
		} else if _, err := io.Copy(&file, p.segment.reader()); err != nil {
			return nil, err
		}
	}
	if int64(file.Len()) != s.size {
		return nil, fmt.Errorf("%d bytes, counted %d", file.Len(), s.size)
	}
	r := bytes.NewReader(file.Bytes())
	z, err := stdgzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	raw, err := io.ReadAll(z)
	if err == nil && r.Len() != 0 {
		err = fmt.Errorf("%d bytes behind the first member", r.Len())
	}
	return raw, err
}

func TestASplicedStreamIsOneGzipMemberOfAllItsParts(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStream()
		var want []byte
		for range rapid.IntRange(0, 6).Draw(rt, "parts") {
			raw := text(rt, 70_000)
			want = append(want, raw...)
			if rapid.Bool().Draw(rt, "literal") {
				s.literal(raw, false)
				continue
			}
			s.splice(asSegment(t, deflate(raw, nil, false), raw))
		}
		raw := text(rt, 3000)
		want = append(want, raw...)
		s.end(raw)
		if got, err := gunzip(s); err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("inflates to %d of %d bytes: %v", len(got), len(want), err)
		}
	})
}

// What a hostile store could hand out instead of a segment. Each inflates to the payload, or nearly.
func TestASegmentThatNothingCouldFollowIsRefused(t *testing.T) {
	payload := bytes.Repeat([]byte("shared files "), 5000)
	good := deflate(payload, nil, false)
	cases := map[string][]byte{
		"one whose stream has ended":                  deflate(payload, nil, true),
		"one with a final block and then more":        append(deflate(payload, nil, true), deflate(nil, nil, false)...),
		"one with bytes after its flush":              append(bytes.Clone(good), 0),
		"one without its flush":                       good[:len(good)-5],
		"one cut within its flush":                    good[:len(good)-1],
		"one that yields more":                        append(bytes.Clone(good), deflate([]byte("more"), nil, false)...),
		"one that yields less":                        deflate(payload[1:], nil, false),
		"one of the same length and other content":    deflate(append([]byte("S"), payload[1:]...), nil, false),
		"one that opens a stored block to swallow":    append(bytes.Clone(good), 0, 21, 0, 0xea, 0xff),
		"one that is not deflate":                     bytes.Repeat([]byte{0xff}, 100),
		"one that reaches for history before it":      backReference(t),
		"one that grows without end (64 MB of zeros)": bomb(),
	}
	check := func(t *testing.T, z []byte) error {
		t.Helper()
		return inflates(t.Context(), asSegment(t, z, payload))
	}
	if err := check(t, good); err != nil {
		t.Fatalf("the right one: %v", err)
	}
	for name, z := range cases {
		t.Run(name, func(t *testing.T) {
			if err := check(t, z); !fault.IsRefusal(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// backReference is a segment made with a dictionary that will not be there.
func backReference(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := flate.NewWriterDict(&b, level, bytes.Repeat([]byte("shared files "), 100))
	if err != nil {
		t.Fatal(err)
	}
	z.Write(bytes.Repeat([]byte("shared files "), 5000))
	z.Flush()
	return b.Bytes()
}

func bomb() []byte {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, 1)
	if err != nil {
		panic(err)
	}
	zeros := make([]byte, 1<<20)
	for range 64 {
		z.Write(zeros)
	}
	z.Flush()
	return b.Bytes()
}

// A stored segment that is accepted can be followed by anything, for a reader that is not the one that accepted it.
func FuzzSegment(f *testing.F) {
	payload := []byte("shared files, shared files, other files")
	good := deflate(payload, nil, false)
	f.Add(good, []byte("tail"))
	f.Add(good[:len(good)-5], []byte("tail"))
	f.Add(deflate(payload, nil, true), []byte("tail"))
	f.Add(append(storedBlock(payload[:3]), deflate(payload[3:], nil, false)...), []byte{})
	f.Add(append([]byte{0, 39, 0, 0xd8, 0xff}, payload...), []byte("tail"))
	f.Fuzz(func(t *testing.T, z, tail []byte) {
		g := asSegment(t, z, payload)
		if err := inflates(t.Context(), g); err != nil {
			if !fault.IsRefusal(err) {
				t.Error(err)
			}
			return
		}
		s := newStream()
		s.splice(g)
		s.end(tail)
		if got, err := gunzip(s); err != nil || !bytes.Equal(got, append(bytes.Clone(payload), tail...)) {
			t.Errorf("accepted, but the package inflates to %q: %v", got, err)
		}
	})
}
