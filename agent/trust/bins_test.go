package trust

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/agent/trust/quorum"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// A bin that reconcile writes is verified as it stands (package bins), any other by go-tuf. Here the two read the same.

// binReader is a fleet whose only interesting bin both ways read.
type binReader struct {
	*repo
	v      *view
	number int
	role   string
	signer trusttest.Key
}

func newBinReader(t testing.TB) *binReader {
	r := newRepo(t)
	own := r.Offer(schema.DigestOf([]byte("m2")), "fedcba9876543210", 2)
	own.Older = []schema.Candidate{{SHA256: schema.DigestOf([]byte("web01 first")), Length: 11,
		Manifest: schema.DigestOf([]byte("m1")), Recipe: "0123456789abcdef", Release: 1, Since: start}}
	r.Assign(schema.Assignment{Host: "web01", SHA256: schema.DigestOf([]byte("2")), Length: 1, Target: own})
	held := r.Offer(schema.DigestOf([]byte("m3")), "fedcba9876543210", 2)
	held.Ring, held.Selected, held.Site = "", false, ""
	for n := range 20 {
		r.Assign(schema.Assignment{Host: fmt.Sprintf("host%02d", n), SHA256: schema.DigestOf([]byte("3")), Length: 1 << 29,
			Target: held})
	}
	r.Release()
	c := r.open("")
	if err := c.Refresh(context.Background(), r, nil); err != nil {
		t.Fatal(err)
	}
	v := c.cur.Load()
	role := r.Bin("web01")
	return &binReader{r, v, v.layout.Number("web01"), role, r.Signers[role][0]}
}

// signed is the signed part of the bin as it is published.
func (r *binReader) signed() []byte {
	var file struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(r.Latest(r.role), &file); err != nil {
		r.t.Fatal(err)
	}
	return file.Signed
}

// sign makes a file of these very bytes, with a signature over them.
func (r *binReader) sign(signed []byte) []byte {
	sig, err := r.signer.Signer.SignMessage(bytes.NewReader(signed))
	if err != nil {
		r.t.Fatal(err)
	}
	return bins.File(signed, []quorum.Signature{{KeyID: r.signer.ID(), Sig: sig}})
}

func (r *binReader) asItStands(file []byte) (*bins.Bin, bool) {
	return bins.Read(file, r.number, r.v.layout, r.v.verifier)
}

func (r *binReader) byGoTUF(file []byte) (*bins.Bin, error) { return r.v.readBin(r.role, file, r.role) }

func TestABinAsReconcileWritesItIsVerifiedAsItStands(t *testing.T) {
	r := newBinReader(t)
	file := r.Latest(r.role)
	got, ok := r.asItStands(file)
	if !ok {
		t.Fatalf("not read: %s", file)
	}
	want, err := r.byGoTUF(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read as %+v, by go-tuf as %+v, %v", got, want, err)
	}
	if len(got.Hosts) < 3 || len(got.Hosts[len(got.Hosts)-1].Older) != 1 {
		t.Errorf("%+v", got.Hosts)
	}
	if !bytes.Equal(file, r.sign(r.signed())) {
		t.Error("the tests below sign in another way than reconcile")
	}
	for _, name := range r.v.layout.Names() {
		if _, ok := bins.Read(r.Latest(name), r.numberOf(name), r.v.layout, r.v.verifier); !ok {
			t.Errorf("%s is not read as it stands", name)
		}
	}
}

// reconcile writes the canonical form without an encoder of JSON: of what was read come the same bytes again.
func TestABinIsWrittenAsGoTUFWritesIt(t *testing.T) {
	r := newBinReader(t)
	for _, host := range []string{"a", "a-b", "a.b", "a_b", "ab", "B"} { // in another order with their suffix than without
		own := r.Offer(schema.DigestOf([]byte(host)), "fedcba9876543210", 2)
		own.Was = []string{"was-" + host, "z"}[:len(host)-1]
		r.Assign(schema.Assignment{Host: host, SHA256: schema.DigestOf([]byte("2")), Length: 1, Target: own})
	}
	r.Release()
	for number, name := range r.v.layout.Names() {
		b, ok := bins.Read(r.Latest(name), number, r.v.layout, r.v.verifier)
		if !ok {
			t.Fatalf("%s is not read", name)
		}
		as, err := b.All()
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(as)
		signed, err := bins.Signed(name, b.Version, b.Expires, as)
		if got := r.sign(signed); err != nil || !bytes.Equal(got, r.Latest(name)) {
			t.Errorf("%s\nis written as\n%s, %v", r.Latest(name), got, err)
		}
		as[0].Ring = `quoted"`
		if _, err := bins.Signed(name, b.Version, b.Expires, as); err == nil {
			t.Error("a name that has to be escaped is written")
		}
	}
}

func (r *binReader) numberOf(role string) int {
	for i, name := range r.v.layout.Names() {
		if name == role {
			return i
		}
	}
	return -1
}

func TestKeysOfEachTypeVerifyABinAsItStands(t *testing.T) {
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		r := newRepo(t)
		key := trusttest.NewKeyOf(kind)
		r.RotateBins(key)
		r.Release()
		c := r.open("")
		if err := c.Refresh(t.Context(), r, nil); err != nil {
			t.Fatal(err)
		}
		v := c.cur.Load()
		role := r.Bin("web01")
		b, ok := bins.Read(r.Latest(role), v.layout.Number("web01"), v.layout, v.verifier)
		if !ok || len(b.Signers) != 1 || b.Signers[0] != key.ID() {
			t.Errorf("%s: %v, %+v", kind, ok, b)
		}
	}
}

// No byte of a file can be another one.
func TestABinWithAnyOtherByteIsNotReadAsItStands(t *testing.T) {
	r := newBinReader(t)
	file := r.Latest(r.role)
	for i := 0; i < len(file); i += needs.Every(1) {
		for _, c := range []byte{file[i] ^ 1, file[i] ^ 0x20, ' ', '"'} {
			if c == file[i] {
				continue
			}
			bent := bytes.Clone(file)
			bent[i] = c
			if _, ok := r.asItStands(bent); ok {
				t.Fatalf("byte %d: %q is read as %q", i, c, file[i])
			}
		}
	}
	for n := 0; n < len(file); n += needs.Every(1) {
		if _, ok := r.asItStands(file[:n]); ok {
			t.Errorf("the first %d bytes are read", n)
		}
	}
}

// otherForms are ways to write the same, and other things, each with a signature over the very bytes.
func (r *binReader) otherForms() map[string][]byte {
	s := string(r.signed())
	first := func(old, new string) []byte {
		if !strings.Contains(s, old) {
			r.t.Fatalf("no %s in %s", old, s)
		}
		return []byte(strings.Replace(s, old, new, 1))
	}
	at := strings.Index(s, `"targets":{`) + len(`"targets":{`)
	end := strings.Index(s[at:], `},"host`)
	entry := s[at : at+end+1]
	next := s[at+end+2:]
	second := next[:strings.Index(next, `},"host`)+1]
	return map[string][]byte{
		"a space after a colon":             first(`"version":`, `"version": `),
		"a space before a comma":            first(`,"version":`, ` ,"version":`),
		"a line feed at the end":            []byte(s + "\n"),
		"a leading zero":                    first(`"version":`, `"version":0`),
		"a plus sign":                       first(`"version":`, `"version":+`),
		"a fraction":                        first(`"length":536870912`, `"length":536870912.0`),
		"an exponent":                       first(`"length":536870912`, `"length":1e12`),
		"a negative zero":                   first(`"length":536870912`, `"length":-0`),
		"a number beyond 64 bits":           first(`"length":536870912`, `"length":18446744073709551617`),
		"an escaped letter":                 first(`"spec_version"`, `"spec_versio\u006e"`),
		"an escaped slash":                  first(`host00/package`, `host00\/package`),
		"a host twice":                      first(`"targets":{`, `"targets":{`+entry+","),
		"hosts out of order":                first(entry+","+second, second+","+entry),
		"the version twice":                 first(`"version":`, `"version":9,"version":`),
		"a name too few":                    first(`"_type":"targets",`, ""),
		"an unknown name":                   first(`,"version":`, `,"versioned":1,"version":`),
		"an unknown name of a host":         first(`{"manifest":`, `{"manifes":1,"manifest":`),
		"a name in other case":              first(`"version":`, `"Version":`),
		"another type":                      first(`"_type":"targets"`, `"_type":"snapshot"`),
		"another bin":                       first(r.role, r.role+"0"),
		"no name of its own":                first(`"bakehouse":{"role":"`+r.role+`"},`, ""),
		"an expiry in another zone":         first(`Z","spec_version`, `+00:00","spec_version`),
		"an expiry with a fraction":         first(`Z","spec_version`, `.000Z","spec_version`),
		"an expiry on 31 February":          first(`"expires":"20`, `"expires":"2026-02-31T00:00:00Z","e":"20`),
		"a digest in capitals":              first(`"sha256":"`, `"sha256":"A`),
		"a second hash":                     first(`"hashes":{`, `"hashes":{"md5":"00",`),
		"an empty list of older":            first(`,"recipe":`, `,"older":[],"recipe":`),
		"an empty ring":                     first(`,"since":`, `,"ring":"","since":`),
		"selected: false":                   first(`,"since":`, `,"selected":false,"since":`),
		"null for a host":                   first(entry, entry[:strings.Index(entry, ":")]+":null"),
		"null for custom data":              first(`{"custom":{`, `{"custom":null,"custo":{`),
		"delegations":                       first(`"expires":`, `"delegations":{"keys":{},"roles":[]},"expires":`),
		"a length of nothing":               first(`"length":536870912`, `"length":0`),
		"a byte that is no ASCII":           first(`"spec_version":"`, `"spec_version":"`+"\xc3\xa9"),
		"a byte that is no UTF-8":           first(`"spec_version":"`, `"spec_version":"`+"\xff"),
		"a control character":               first(`"spec_version":"`, `"spec_version":"`+"\x01"),
		"text behind the signed part":       []byte(s + `,"more":1`),
		"a host of another bin":             first("host", "hos"),
		"a target that is no host's":        first("/package", "/packages"),
		"a name that hosts cannot have":     first(`"host`, `"-host`),
		"a recipe that is too short":        first(`"recipe":"fedcba9876543210"`, `"recipe":"fedcba987654321"`),
		"an older package of a later time":  first(`"release":1`, `"release":3`),
		"more older packages than allowed":  first(`"older":[{`, `"older":[{},{},{`),
		"a manifest that is no sha256":      first(`"manifest":"sha256:`, `"manifest":"sha512:`),
		"a candidate with an unknown name":  first(`"older":[{`, `"older":[{"a":1,`),
		"nothing at all":                    nil,
		"an object without anything in it":  []byte("{}"),
		"an array in the place of targets":  first(`"targets":{`, `"targets":[],"t":{`),
		"the end of the file in the middle": []byte(s[:len(s)/2]),
	}
}

func TestABinInAnyOtherFormTakesTheLongWay(t *testing.T) {
	r := newBinReader(t)
	for name, signed := range r.otherForms() {
		if b, ok := r.asItStands(r.sign(signed)); ok {
			t.Errorf("%s: read as %+v", name, b)
		}
	}
}

// What go-tuf takes in another form is read by it, in the same meaning.
func TestABinInAnotherFormIsReadAllTheSame(t *testing.T) {
	r := newBinReader(t)
	var file bytes.Buffer
	if err := json.Indent(&file, r.Latest(r.role), "", " "); err != nil {
		t.Fatal(err)
	}
	want, ok := r.asItStands(r.Latest(r.role))
	if !ok {
		t.Fatal("not read")
	}
	if _, ok := r.asItStands(file.Bytes()); ok {
		t.Error("a file with spaces is read as it stands")
	}
	r.Files[fmt.Sprintf("%d.%s.json", r.Targets[r.role].Signed.Version, r.role)] = file.Bytes()
	c := r.open("")
	c.IgnoreTree()
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	a, err := c.Assignment(t.Context(), r, "web01")
	if first, _ := want.Find("web01"); err != nil || !reflect.DeepEqual(a, first) {
		t.Errorf("%+v, %v", a, err)
	}
}

// memory is a map that counts what is asked of it.
type memory struct {
	sync.Map
	found, kept atomic.Int64
}

func (m *memory) Find(kind string, parts ...string) (string, bool) {
	v, ok := m.Load(fmt.Sprint(kind, parts))
	if !ok {
		return "", false
	}
	m.found.Add(1)
	return v.(string), true
}

func (m *memory) Keep(value []byte, kind string, parts ...string) {
	m.kept.Add(1)
	m.Store(fmt.Sprint(kind, parts), string(value))
}

// expect reads all bins with m, of which so many are known and others get known.
func (m *memory) expect(r *repo, found, kept int64) {
	r.t.Helper()
	m.found.Store(0)
	m.kept.Store(0)
	c := r.open("")
	c.Remember(m)
	err := c.Refresh(context.Background(), r, nil)
	r.asked()
	if _, berr := c.Bins(context.Background(), r); err != nil || berr != nil {
		r.t.Fatal(err, berr)
	}
	if m.found.Load() != found || m.kept.Load() != kept {
		r.t.Errorf("%d bins are known again, and %d are new; want %d and %d", m.found.Load(), m.kept.Load(), found, kept)
	}
	for host, want := range r.Given {
		if a, err := c.Assignment(context.Background(), r, host); err != nil || !reflect.DeepEqual(*a, want) {
			r.t.Errorf("%s: %+v, %v; want %+v", host, a, err, want)
		}
	}
}

func TestWhatWasVerifiedIsNotReadAgain(t *testing.T) {
	r, m := newRepo(t), &memory{}
	m.expect(r, 0, 4)
	m.expect(r, 4, 0)
	for _, file := range r.asked() {
		if strings.Contains(file, "bin-") {
			t.Errorf("%s is read again", file)
		}
	}
	r.assign("web01", "web01 second", 2)
	r.Release()
	m.expect(r, 3, 1)
	// A record counts for the keys that vouched for the file, and for no others.
	r.RotateBins(trusttest.NewKey())
	r.Release()
	m.expect(r, 0, 4)
	// Without a tree that names the files nothing is known of them.
	c := r.open("")
	c.Remember(m)
	c.IgnoreTree()
	m.found.Store(0)
	err := c.Refresh(t.Context(), r, nil)
	if _, berr := c.Bins(t.Context(), r); err != nil || berr != nil || m.found.Load() != 0 {
		t.Errorf("%d found; %v, %v", m.found.Load(), err, berr)
	}
}

func TestARememberedBinExpires(t *testing.T) {
	r, m := newRepo(t), &memory{}
	role := r.Bin("web01")
	r.Targets[role].Signed.Expires, r.Targets[role].Signed.Version = start.Add(day), 2
	r.Seal(role)
	r.Release()
	m.expect(r, 0, 4)
	r.Now = start.Add(2 * day)
	c := r.open("")
	c.Remember(m)
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	var e *ExpiredError
	if _, err := c.Bins(t.Context(), r); !errors.As(err, &e) || e.Role != role {
		t.Errorf("got %v", err)
	}
}

// A thing that no host can be given spoils the whole bin for who reads all, but no other host of it.
func TestAnUnreadableTargetSpoilsNoOtherHost(t *testing.T) {
	r := newRepo(t)
	role := r.Bin("web01")
	bad := json.RawMessage(`{"manifest":1}`)
	other := "web01"
	for n := 0; other == "web01" || r.Bin(other) != role; n++ {
		other = fmt.Sprintf("other%d", n)
	}
	r.Targets[role].Signed.Targets[schema.PackageTarget(other)] = &metadata.TargetFiles{Length: 1,
		Hashes: metadata.Hashes{"sha256": bytes.Repeat([]byte{1}, 32)}, Custom: &bad}
	r.Release(role)
	c := r.open("")
	if err := c.Refresh(t.Context(), r, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assignment(t.Context(), r, "web01"); err != nil {
		t.Error(err)
	}
	if _, err := c.Assignment(t.Context(), r, other); err == nil || !strings.Contains(err.Error(), other) {
		t.Errorf("%s: %v", other, err)
	}
	if _, err := c.Bins(t.Context(), r); err == nil {
		t.Error("who reads all is not told")
	}
}

// FuzzBin gives both ways the same bytes, once as a file and once as the signed part of one with a right signature.
// What is accepted as it stands, go-tuf accepts in the same meaning.
func FuzzBin(f *testing.F) {
	r := newBinReader(f)
	f.Add(r.Latest(r.role))
	f.Add(r.signed())
	for _, signed := range r.otherForms() {
		f.Add(signed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range [][]byte{b, r.sign(b)} {
			got, ok := r.asItStands(file)
			if !ok {
				continue
			}
			want, err := r.byGoTUF(file)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s\nis read as %+v\nby go-tuf as %+v, %v", file, got, want, err)
			}
			again, err := bins.Decode(string(got.Encode()), got.SHA256)
			if err != nil || !reflect.DeepEqual(got, again) {
				t.Errorf("%+v\nis remembered as %+v, %v", got, again, err)
			}
		}
	})
}

// bySnapshot reads a snapshot both ways, each as canonical JSON again.
func (r *binReader) bySnapshot(t *testing.T, file []byte) (asItStands, byGoTUF string) {
	by := quorum.OfRoot(r.Root, metadata.SNAPSHOT)
	verifier, err := by.Verifier()
	if err != nil {
		t.Fatal(err)
	}
	encode := func(md *metadata.Metadata[metadata.SnapshotType]) string {
		signed, err := cjson.EncodeCanonical(md.Signed)
		if err != nil {
			t.Fatal(err)
		}
		sigs, err := json.Marshal(md.Signatures)
		return string(signed) + string(sigs) + fmt.Sprint(err)
	}
	if md, ok := bins.ReadSnapshot(file, verifier); ok {
		asItStands = encode(md)
	}
	var md *metadata.Metadata[metadata.SnapshotType]
	err = guarded(snapshotFile, file, func() error {
		if md, err = metadata.Snapshot().FromBytes(file); err != nil {
			return err
		}
		return by.Verify(metadata.SNAPSHOT, md)
	})
	if err == nil {
		byGoTUF = encode(md)
	}
	return asItStands, byGoTUF
}

func (r *binReader) snapshot() (signed []byte, sign func([]byte) []byte) {
	r.signer = r.Signers[metadata.SNAPSHOT][0]
	var file struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(r.Latest(metadata.SNAPSHOT), &file); err != nil {
		r.t.Fatal(err)
	}
	return file.Signed, r.sign
}

func TestASnapshotAsReconcileWritesItIsVerifiedAsItStands(t *testing.T) {
	r := newBinReader(t)
	signed, sign := r.snapshot()
	got, want := r.bySnapshot(t, r.Latest(metadata.SNAPSHOT))
	if got == "" || got != want || !bytes.HasPrefix([]byte(got), signed) {
		t.Errorf("read as\n%s, by go-tuf as\n%s", got, want)
	}
	s := string(signed)
	for name, bent := range map[string]string{
		"a space":            strings.Replace(s, `,"version"`, ` ,"version"`, 1),
		"bins out of order":  strings.Replace(s, `"meta":{`, `"meta":{"bin-1.json":{"version":1},`, 1),
		"a bin twice":        strings.Replace(s, `"meta":{`, `"meta":{"bin-0.json":{"version":1},`, 1),
		"a length of a bin":  strings.Replace(s, `{"version":`, `{"length":5,"version":`, 1),
		"an unknown name":    strings.Replace(s, `,"spec_version"`, `,"more":1,"spec_version"`, 1),
		"no tree":            strings.Replace(s, `"bakehouse":{`, `"bakehous":{`, 1),
		"a leading zero":     strings.Replace(s, `{"version":`, `{"version":0`, 1),
		"another type":       strings.Replace(s, `"snapshot"`, `"timestamp"`, 1),
		"an escaped letter":  strings.Replace(s, `"bin-0.json"`, `"bin-\u0030.json"`, 1),
		"nothing behind":     s[:len(s)-1],
		"something behind":   s + `,"more":1`,
		"an expiry elsewhen": strings.Replace(s, `Z","meta"`, `+00:00","meta"`, 1),
	} {
		if bent == s {
			t.Fatalf("%s: nothing is bent", name)
		}
		if got, _ := r.bySnapshot(t, sign([]byte(bent))); got != "" {
			t.Errorf("%s: read as %s", name, got)
		}
	}
}

// FuzzSnapshot is FuzzBin for the snapshot.
func FuzzSnapshot(f *testing.F) {
	r := newBinReader(f)
	signed, sign := r.snapshot()
	f.Add(r.Latest(metadata.SNAPSHOT))
	f.Add(signed)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, file := range [][]byte{b, sign(b)} {
			if got, want := r.bySnapshot(t, file); got != "" && got != want {
				t.Errorf("%s\nis read as %s\nby go-tuf as %s", file, got, want)
			}
		}
	})
}

// BenchmarkBin reads a bin of a hundred hosts, as 100,000 have 1,024 of them.
func BenchmarkBin(b *testing.B) {
	r := newRepo(b)
	role := r.Bin("web01")
	for n, made := 0, 0; made < 100; n++ {
		if host := fmt.Sprintf("h%06d", n); r.Bin(host) == role {
			r.assign(host, host, 1)
			made++
		}
	}
	r.Release()
	c := r.open("")
	if err := c.Refresh(b.Context(), r, nil); err != nil {
		b.Fatal(err)
	}
	v, file := c.cur.Load(), r.Latest(role)
	number := v.layout.Number("web01")
	var record string
	b.Run("as it stands", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			bin, ok := bins.Read(file, number, v.layout, v.verifier)
			if !ok {
				b.Fatal("not read")
			}
			record = string(bin.Encode())
		}
	})
	b.Run("by its record", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := bins.Decode(record, schema.Digest{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("by go-tuf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.readBin(role, file, role); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkHeld is what a host with nothing new to verify does: of 100,000 in 1,024 bins, it reads what it holds, and
// checks it against roots, marks and the clock.
func BenchmarkHeld(b *testing.B) {
	r := &repo{trusttest.NewFleet(start, 1024), b}
	role := r.Bin("web01")
	r.assign("web01", "web01", 1)
	for n, made := 0, 0; made < 100; n++ {
		if host := fmt.Sprintf("h%06d", n); r.Bin(host) == role {
			r.assign(host, host, 1)
			made++
		}
	}
	r.Release()
	dir := b.TempDir()
	r.mustUpdate(dir, "web01", "web01")
	b.ReportAllocs()
	for b.Loop() {
		c := r.open(dir)
		if err := c.Refresh(b.Context(), r, c.Timestamp()); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Assignment(b.Context(), r, "web01"); err != nil {
			b.Fatal(err)
		}
	}
}
