package bins

import (
	"reflect"
	"testing"
	"time"

	"bakehouse/schema"
)

func example() *Bin {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	digest := func(s string) schema.Digest { return schema.DigestOf([]byte(s)) }
	older := schema.Candidate{SHA256: digest("old"), Length: 1 << 40, Manifest: digest("m"), Recipe: "0123456789abcdef",
		Release: 6, Since: at.Add(-time.Hour)}
	b := &Bin{Version: 300, Expires: at, SHA256: digest("file"), Signers: []string{"a", "b"}}
	for i, ring := range []string{"all", "", "canary", "all"} {
		a := schema.Assignment{Host: string(rune('a' + i)), SHA256: digest("new"), Length: 5, Target: schema.Target{
			Manifest: digest("n"), Recipe: "fedcba9876543210", Release: 7, Ring: ring, Selected: i%2 == 0, Since: at,
			Site: "central"}}
		for range i % (schema.MaxOlder + 1) {
			a.Older = append(a.Older, older)
		}
		for j := range i {
			a.Was = append(a.Was, "former"+string(rune('0'+j)))
		}
		b.Hosts = append(b.Hosts, a)
	}
	return b
}

func TestARecordIsTheBinAgain(t *testing.T) {
	for name, b := range map[string]*Bin{"four hosts": example(),
		"no host": {Version: 1, Expires: time.Unix(0, 0).UTC(), Hosts: []schema.Assignment{}}} {
		got, err := Decode(string(b.Encode()), b.SHA256)
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, b)
		}
	}
}

func TestACutOrLengthenedRecordIsNone(t *testing.T) {
	record := string(example().Encode())
	for n := range record {
		if b, err := Decode(record[:n], schema.Digest{}); err == nil {
			t.Errorf("the first %d bytes are read as %+v", n, b)
		}
	}
	if _, err := Decode(record+"\x00", schema.Digest{}); err == nil {
		t.Error("a byte more is read")
	}
}

// FuzzDecode reads bytes of any kind: what they are is known by a seal around them, so all that counts is that a reader
// neither panics nor takes memory that is out of proportion.
func FuzzDecode(f *testing.F) {
	f.Add(string(example().Encode()))
	f.Add("\x02\x02\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
	f.Fuzz(func(t *testing.T, record string) {
		b, err := Decode(record, schema.Digest{})
		if err == nil && len(b.Hosts)*minHost > len(record) {
			t.Errorf("%d hosts of %d bytes", len(b.Hosts), len(record))
		}
	})
}
