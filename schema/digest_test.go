package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func anyDigest(r *rapid.T) (d Digest) {
	copy(d[:], rapid.SliceOfN(rapid.Byte(), len(d), len(d)).Draw(r, "digest"))
	return d
}

func TestADigestIsReadBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		d := anyDigest(r)
		if back, err := ParseHex(d.Hex()); err != nil || back != d {
			r.Fatalf("%x by Hex: %x, %v", d, back, err)
		}
		// As a value and as a key of a map; the zero Digest as the empty string.
		in := map[Digest]Digest{d: d}
		b, err := json.Marshal(in)
		if err != nil {
			r.Fatal(err)
		}
		var out map[Digest]Digest
		if err := json.Unmarshal(b, &out); err != nil || len(out) != 1 || out[d] != d {
			r.Fatalf("%s: %v, %v", b, out, err)
		}
		if d.IsZero() {
			return
		}
		if back, err := ParseDigest(d.String()); err != nil || back != d {
			r.Fatalf("%x by String: %x, %v", d, back, err)
		}
	})
}

func TestOnlyTheOneTextFormOfADigestIsRead(t *testing.T) {
	d := DigestOf([]byte("x"))
	for name, s := range map[string]string{
		"empty":                "",
		"upper case":           "sha256:" + strings.ToUpper(d.Hex()),
		"upper-case algorithm": "SHA256:" + d.Hex(),
		"another algorithm":    "sha512:" + d.Hex(),
		"no algorithm":         d.Hex(),
		"a digit short":        "sha256:" + d.Hex()[1:],
		"a digit long":         "sha256:" + d.Hex() + "0",
		"not hex":              "sha256:" + d.Hex()[1:] + "g",
		"space before":         " " + d.String(),
		"line end":             d.String() + "\n",
		"letters that fold":    "sha256:" + strings.Repeat("K", 64), // Kelvin signs
	} {
		if got, err := ParseDigest(s); err == nil || !got.IsZero() {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestAFailedReadLeavesADigestAsItWas(t *testing.T) {
	d := DigestOf([]byte("x"))
	kept := d
	if err := d.UnmarshalText([]byte("sha256:zz")); err == nil || d != kept {
		t.Errorf("%v, %v", d, err)
	}
	if err := d.UnmarshalText(nil); err != nil || !d.IsZero() || d.String() != "" {
		t.Errorf("empty text: %v, %v", d, err)
	}
}

func TestTheShortFormIsSixteenDigits(t *testing.T) {
	if d := DigestOf(nil); d.Short() != "e3b0c44298fc1c14" || d.String() != "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("%s %s", d.Short(), d)
	}
}
