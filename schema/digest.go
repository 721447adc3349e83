package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is a SHA-256 sum. It is comparable, can key a map, and reads and writes as "sha256:" and 64 lower-case
// hex digits (the OCI form). The zero Digest means "none" and marshals as an empty string.
type Digest [sha256.Size]byte

const digestPrefix = "sha256:"

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest reads the text form. An empty string is an error: use UnmarshalText where none is allowed.
func ParseDigest(s string) (Digest, error) {
	rest, ok := strings.CutPrefix(s, digestPrefix)
	if !ok {
		return Digest{}, fmt.Errorf("digest %.80q does not start with %q", s, digestPrefix)
	}
	return ParseHex(rest)
}

// ParseHex reads 64 lower-case hex digits, the form TUF metadata and store keys use.
func ParseHex(s string) (Digest, error) {
	var d Digest
	if len(s) != 2*len(d) || s != strings.ToLower(s) {
		return d, fmt.Errorf("digest %.80q is not %d lower-case hex digits", s, 2*len(d))
	}
	if _, err := hex.Decode(d[:], []byte(s)); err != nil {
		return Digest{}, fmt.Errorf("digest %.80q: %w", s, err)
	}
	return d, nil
}

// Hex is the sum as 64 hex digits.
func (d Digest) Hex() string { return hex.EncodeToString(d[:]) }

// Short is the first 16 hex digits: the form people see, and the width of Checkmk's aghash.
func (d Digest) Short() string { return hex.EncodeToString(d[:8]) }

// IsZero reports whether d is no digest at all.
func (d Digest) IsZero() bool { return d == Digest{} }

func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return digestPrefix + d.Hex()
}

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; empty text is the zero Digest.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = Digest{}
		return nil
	}
	v, err := ParseDigest(string(b))
	if err == nil {
		*d = v
	}
	return err
}
