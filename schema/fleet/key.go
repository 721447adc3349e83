package fleet

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Key is the public half of a signature key, and where its private half is.
type Key struct {
	Name        string
	Public      string // PEM, SubjectPublicKeyInfo
	Certificate string // PEM; empty: the repo holds the bare key
	Uses        []string
	Private     string    // file name in the key folder, or the URI of a KMS
	NotBefore   time.Time // of the certificate
	Expires     time.Time // what comes first of expires and the certificate's end; zero: never
	Retired     time.Time // zero: it is not
	Pos         Pos
}

// The uses of keys: the TUF roles (targets also signs the bins), and statements on packages. Nothing is signed yet for
// those of a transparency log.
const (
	UseRoot      = "root"
	UseTargets   = "targets"
	UseSnapshot  = "snapshot"
	UseTimestamp = "timestamp"
	UsePackage   = "package"
	UseLog       = "log"
	UseWitness   = "witness"
)

// Roles are the uses that are TUF roles.
var Roles = []string{UseRoot, UseTargets, UseSnapshot, UseTimestamp}

// Has reports whether k has that use. A retired key has none any more.
func (k *Key) Has(use string) bool { return k.Retired.IsZero() && slices.Contains(k.Uses, use) }

// minRSA is the smallest modulus that is accepted, in bits.
const minRSA = 2048

// CheckKeyType accepts the keys that TUF clients, ours and others, verify with: Ed25519, ECDSA P-256, RSA.
func CheckKeyType(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if pub.Curve == elliptic.P256() {
			return nil
		}
		return fmt.Errorf("an ECDSA key on %s: only P-256 is accepted", pub.Curve.Params().Name)
	case *rsa.PublicKey:
		if bits := pub.N.BitLen(); bits < minRSA {
			return fmt.Errorf("an RSA key of %d bits: at least %d are accepted", bits, minRSA)
		}
		return nil
	}
	return fmt.Errorf("a %T: keys are Ed25519, ECDSA P-256 or RSA", pub)
}

// KeyFile is the text of keys/NAME.cue for a key.
func KeyFile(k Key) []byte {
	var b strings.Builder
	field, text := "public", k.Public
	if k.Certificate != "" {
		field, text = "certificate", k.Certificate
	}
	fmt.Fprintf(&b, "package keys\n\nkeys: %s: {\n\tuses: [", quote(k.Name))
	for i, use := range k.Uses {
		b.WriteString([]string{"", ", "}[min(i, 1)] + string(quote(use)))
	}
	b.WriteString("]\n")
	if k.Private != "" && k.Private != k.Name+".key" {
		fmt.Fprintf(&b, "\tprivate: %s\n", quote(k.Private))
	}
	if !k.Expires.IsZero() {
		fmt.Fprintf(&b, "\texpires: %q\n", k.Expires.UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "\t%s: \"\"\"\n", field)
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		b.WriteString("\t\t" + line)
	}
	b.WriteString("\t\t\"\"\"\n}\n")
	return []byte(b.String())
}

// quote is s as JSON, without the escapes that encoding/json adds for HTML.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
