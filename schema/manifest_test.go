package schema

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"bakehouse/schema/fault"

	"pgregory.net/rapid"
)

// draft makes a manifest and what its segments are, from parts: odd ones are segments.
func draft(parts ...string) (*Manifest, map[Digest][]byte) {
	m := &Manifest{Schema: ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1.2.3+0123456789abcdef", Recipe: "0123456789abcdef",
		Platform: Platform{"linux", "amd64"}, Format: Deb, Anchor: DigestOf([]byte("anchor"))}
	segments := map[Digest][]byte{}
	for i, s := range parts {
		if i%2 == 0 {
			m.Parts = append(m.Parts, Part{Data: []byte(s)})
			continue
		}
		d := DigestOf([]byte(s))
		segments[d] = []byte(s)
		m.Parts = append(m.Parts, Part{Segment: &SegmentRef{Digest: d, Size: int64(len(s)), Payload: DigestOf([]byte("payload of " + s)), PayloadSize: 7}})
	}
	whole := strings.Join(parts, "")
	m.Size, m.SHA256 = int64(len(whole)), DigestOf([]byte(whole))
	return m, segments
}

func opener(segments map[Digest][]byte) func(SegmentRef) (io.ReadCloser, error) {
	return func(ref SegmentRef) (io.ReadCloser, error) {
		b, ok := segments[ref.Digest]
		if !ok {
			return nil, errors.New("no such segment")
		}
		return io.NopCloser(bytes.NewReader(b)), nil
	}
}

func pack(t interface{ Fatal(...any) }, b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(b)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAPackageIsAssembledByteForByte(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		parts := rapid.SliceOfN(rapid.StringN(1, 50, -1), 1, 9).Draw(r, "parts")
		m, segments := draft(parts...)
		text, digest, err := m.Encode()
		if err != nil {
			r.Fatal(err)
		}
		back, err := DecodeManifest(pack(r, text), digest)
		if err != nil || !reflect.DeepEqual(back, m) {
			r.Fatalf("read back as %+v, %v", back, err)
		}
		var out bytes.Buffer
		if err := back.Assemble(&out, opener(segments)); err != nil || out.String() != strings.Join(parts, "") {
			r.Fatalf("%q, %v", out.String(), err)
		}
		distinct := map[Digest]bool{}
		for _, ref := range m.Segments() {
			if distinct[ref.Digest] {
				r.Fatal("a segment is listed twice")
			}
			distinct[ref.Digest] = true
		}
		if len(distinct) != len(segments) {
			r.Fatalf("%d segments of %d", len(distinct), len(segments))
		}
	})
}

func TestAnAlteredPackageIsRefused(t *testing.T) {
	for name, alter := range map[string]func(m *Manifest, segments map[Digest][]byte, d Digest){
		"a segment with other bytes":     func(_ *Manifest, s map[Digest][]byte, d Digest) { s[d] = []byte("SEGMENT") },
		"a segment that is cut":          func(_ *Manifest, s map[Digest][]byte, d Digest) { s[d] = s[d][:3] },
		"a segment with more behind it":  func(_ *Manifest, s map[Digest][]byte, d Digest) { s[d] = append(s[d], 'x') },
		"an empty segment":               func(_ *Manifest, s map[Digest][]byte, d Digest) { s[d] = nil },
		"other bytes in a literal":       func(m *Manifest, _ map[Digest][]byte, _ Digest) { m.Parts[0].Data[0]++ },
		"parts in another order":         func(m *Manifest, _ map[Digest][]byte, _ Digest) { m.Parts[0], m.Parts[2] = m.Parts[2], m.Parts[0] },
		"another digest for the package": func(m *Manifest, _ map[Digest][]byte, d Digest) { m.SHA256 = d },
	} {
		m, segments := draft("head", "segment", "tail")
		alter(m, segments, m.Parts[1].Segment.Digest)
		err := m.Assemble(io.Discard, opener(segments))
		if altered := (*AlteredError)(nil); !errors.As(err, &altered) || fault.ExitCode(err) != fault.ExitRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnEndlessSegmentIsReadOneByteTooFarAtMost(t *testing.T) {
	m, _ := draft("head", "segment", "tail")
	var out bytes.Buffer
	err := m.Assemble(&out, func(SegmentRef) (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func(b []byte) (int, error) { return copy(b, bytes.Repeat([]byte("x"), len(b))), nil })), nil
	})
	if !fault.IsRefusal(err) || out.Len() > len("head")+len("segment")+1 {
		t.Errorf("%d bytes written, %v", out.Len(), err)
	}
}

type readerFunc func([]byte) (int, error)

func (r readerFunc) Read(b []byte) (int, error) { return r(b) }

func TestASegmentThatCannotBeHadIsNoRefusal(t *testing.T) {
	m, segments := draft("head", "segment", "tail")
	lost := errors.New("connection lost")
	for name, open := range map[string]func(SegmentRef) (io.ReadCloser, error){
		"not opened": func(SegmentRef) (io.ReadCloser, error) { return nil, lost },
		"broken off": func(ref SegmentRef) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(segments[ref.Digest][:3]), iotest.ErrReader(lost))), nil
		},
	} {
		if err := m.Assemble(io.Discard, open); !errors.Is(err, lost) || fault.IsRefusal(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := errors.New("disk full")
	if err := m.Assemble(writerFunc(func([]byte) (int, error) { return 0, full }), opener(segments)); !errors.Is(err, full) {
		t.Errorf("nowhere to write: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (w writerFunc) Write(b []byte) (int, error) { return w(b) }

func TestAManifestThatDoesNotAddUpIsRefused(t *testing.T) {
	for name, change := range map[string]func(m *Manifest){
		"another schema":                    func(m *Manifest) { m.Schema++ },
		"no bake version":                   func(m *Manifest) { m.Bake = 0 },
		"a name that is a path":             func(m *Manifest) { m.Name = "../x" },
		"no version":                        func(m *Manifest) { m.Version = "" },
		"a version with a line end":         func(m *Manifest) { m.Version = "1\nDepends: x" },
		"a version with a terminal's codes": func(m *Manifest) { m.Version = "1\x1b[2J" },
		"a version that is a path":          func(m *Manifest) { m.Version = "1/../.." },
		"a version that is an option":       func(m *Manifest) { m.Version = "--force" },
		"a recipe that is no hash":          func(m *Manifest) { m.Recipe = "0" },
		"no platform":                       func(m *Manifest) { m.Platform = Platform{} },
		"an unknown format":                 func(m *Manifest) { m.Format = "apk" },
		"no anchor":                         func(m *Manifest) { m.Anchor = Digest{} },
		"no digest":                         func(m *Manifest) { m.SHA256 = Digest{} },
		"size 0":                            func(m *Manifest) { m.Size = 0 },
		"a negative size":                   func(m *Manifest) { m.Size = -1 },
		"a size over the limit":             func(m *Manifest) { m.Size = MaxPackage + 1 },
		"a byte too many":                   func(m *Manifest) { m.Size-- },
		"a byte too few":                    func(m *Manifest) { m.Size++ },
		"no parts":                          func(m *Manifest) { m.Parts = nil },
		"too many parts":                    func(m *Manifest) { m.Parts = make([]Part, maxParts+1) },
		"a part of nothing":                 func(m *Manifest) { m.Parts[0] = Part{} },
		"a part of both":                    func(m *Manifest) { m.Parts[0].Segment = m.Parts[1].Segment },
		"a segment without a digest":        func(m *Manifest) { m.Parts[1].Segment.Digest = Digest{} },
		"a segment of size 0":               func(m *Manifest) { m.Parts[1].Segment.Size = 0 },
		"a segment of negative size":        func(m *Manifest) { m.Parts[1].Segment.Size = -8 },
		"a payload of negative size":        func(m *Manifest) { m.Parts[1].Segment.PayloadSize = -1 },
		"sizes that overflow to the sum": func(m *Manifest) {
			huge := &SegmentRef{Digest: m.Anchor, Payload: m.Anchor, PayloadSize: 1, Size: math.MaxInt64}
			m.Parts = []Part{{Segment: huge}, {Segment: huge}, {Data: make([]byte, m.Size+2)}}
		},
	} {
		m, segments := draft("head", "segment", "tail")
		change(m)
		if err := m.Validate(); err == nil {
			t.Errorf("%s: valid", name)
		}
		if err := m.Assemble(io.Discard, opener(segments)); err == nil {
			t.Errorf("%s: assembled", name)
		}
		if _, _, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		// Signed by mistake, or a newer form: its digest is right.
		b, err := m.Marshal()
		if err != nil {
			continue
		}
		if got, err := DecodeManifest(pack(t, b), DigestOf(b)); err == nil {
			t.Errorf("%s: decoded as %+v", name, got)
		}
	}
}

func TestBytesThatAreNotTheManifestAskedForAreARefusal(t *testing.T) {
	m, _ := draft("head", "segment", "tail")
	text, digest, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	packed := pack(t, text)
	for name, b := range map[string][]byte{
		"nothing":                   nil,
		"not gzip":                  text,
		"cut gzip":                  packed[:len(packed)-9],
		"gzip without its checksum": packed[:len(packed)-8],
		"gzip with a flipped bit":   append(bytes.Clone(packed[:20]), append([]byte{packed[20] ^ 1}, packed[21:]...)...),
		"rubbish behind it":         append(bytes.Clone(packed), "rubbish"...),
		"another manifest":          pack(t, bytes.Replace(text, []byte("1.2.3"), []byte("1.2.4"), 1)),
		"two manifests":             append(bytes.Clone(packed), packed...),
		"a bomb":                    pack(t, make([]byte, MaxManifest+1)),
		"an empty manifest":         pack(t, nil),
	} {
		if got, err := DecodeManifest(b, digest); err == nil || fault.ExitCode(err) != fault.ExitRefused {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestAManifestWhoseLiteralsDoNotAddUpIsNotRead(t *testing.T) {
	m, _ := draft("head", "segment", "tail")
	text, _, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, new string) []byte {
		b := bytes.Replace(text, []byte(old), []byte(new), 1)
		if bytes.Equal(b, text) {
			t.Fatalf("there is no %s in %s", old, text)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"a byte more":                   append(bytes.Clone(text), 'x'),
		"a byte less":                   text[:len(text)-1],
		"no literals":                   replaced("headtail", ""),
		"no line":                       replaced("\n", " "),
		"two lines":                     replaced(`"parts"`, "\n\"parts\""),
		"a literal of negative length":  replaced(`{"literal":4}`, `{"literal":-4}`),
		"a literal longer than memory":  replaced(`{"literal":4}`, `{"literal":9223372036854775807}`),
		"a literal of no integer":       replaced(`{"literal":4}`, `{"literal":99999999999999999999}`),
		"a literal and a segment":       replaced(`{"literal":4},{`, `{"literal":4,`),
		"parts that stand there twice":  replaced(`"parts":[`, `"parts":[],"parts":[`),
		"literals that changed lengths": replaced(`{"literal":4}`, `{"literal":5}`),
	} {
		if got, err := DecodeManifest(pack(t, b), DigestOf(b)); err == nil {
			t.Errorf("%s: read as %+v", name, got)
		}
	}
}

func TestAManifestOverTheLimitIsNotEncoded(t *testing.T) {
	m, _ := draft(strings.Repeat("x", MaxManifest))
	if _, _, err := m.Encode(); err == nil {
		t.Error("it was encoded, and nobody could read it")
	}
}

func FuzzDecodeManifest(f *testing.F) {
	m, _ := draft("head", "segment", "tail")
	text, _, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(pack(f, text))
	f.Add([]byte(`{"schema":2,"parts":[{"segment":null},{"literal":null},null]}` + "\n"))
	f.Add([]byte(`{"schema":2,"parts":[{"literal":9223372036854775807},{"literal":-1},{"literal":2}]}` + "\nab"))
	f.Add([]byte("null\n"))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, b []byte) {
		// As packed bytes of a hostile server.
		if _, err := DecodeManifest(b, DigestOf(b)); err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
		// As the manifest itself, so that its form is what is tried.
		m, err := DecodeManifest(pack(t, b), DigestOf(b))
		if err != nil {
			return
		}
		again, _, err := m.Encode()
		if err != nil {
			t.Fatalf("read, but not written: %v", err)
		}
		back, err := DecodeManifest(pack(t, again), DigestOf(again))
		if err != nil || !reflect.DeepEqual(back, m) {
			t.Fatalf("%+v is read back as %+v, %v", m, back, err)
		}
		var sum int64
		for _, p := range m.Parts {
			if sum += int64(len(p.Data)); p.Segment != nil {
				sum += p.Segment.Size
			}
		}
		if sum != m.Size {
			t.Fatalf("the parts have %d bytes, the package %d", sum, m.Size)
		}
		if err := m.Assemble(io.Discard, opener(nil)); err == nil && len(m.Segments()) > 0 {
			t.Fatal("assembled without its segments")
		}
	})
}
