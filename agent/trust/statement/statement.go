// Package statement decides whose signature on a package counts. TUF metadata (package trust) say which package a host
// gets; statements say that a package is ours. Each is a DSSE envelope beside the package, with an
// in-toto Statement on its digest, its manifest's and the fleet's anchor, made by a signature key that no server holds.
// What signs, reads and accepts them shares this.
package statement

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Envelope is a DSSE envelope (v1.0.2) as it is stored beside a package. It is declared here because the usual module
// for it brings the whole of x/crypto/ssh into the host program, and prints on stdout what it thinks of a signature.
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // base64
	Signatures  []Signature `json:"signatures"`
}

// Signature is one signature, in base64, with the TUF key id of the key that is said to have made it.
type Signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// KeyID is a public key's id in TUF metadata and in envelopes: 64 hex digits.
func KeyID(pub crypto.PublicKey) (string, error) {
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return "", err
	}
	return k.ID()
}

// PAE is what a DSSE signature is over (pre-authentication encoding).
func PAE(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// LoadVerifier returns what verifies statements by a public key, in the one form that cosign has for its type: Ed25519,
// ECDSA with SHA-256, RSA PKCS #1 v1.5 with SHA-256. (TUF metadata by RSA keys are PSS.)
func LoadVerifier(pub crypto.PublicKey) (signature.Verifier, error) {
	return signature.LoadVerifier(pub, crypto.SHA256)
}

type accepter struct {
	name, id    string
	fingerprint [sha256.Size]byte
	verifier    signature.Verifier
}

// Verdict is what envelopes came to: the names of the keys that count, and the signatures that do not.
type Verdict struct {
	Accepted []string
	Ignored  []schema.IgnoredSignature
}

// Verify is Judge for who asks only which keys have signed.
func Verify(
	envelopes [][]byte, want schema.Statement, keys []schema.AcceptedKey, threshold int,
) (accepted []string, err error) {
	v, err := Judge(envelopes, want, keys, threshold)
	if err != nil {
		return nil, err
	}
	return v.Accepted, nil
}

// Judge checks the DSSE envelopes beside a package: threshold of the distinct keys must have signed exactly want. The
// refusal lists each signature and why it was ignored; the Verdict is valid beside it.
func Judge(
	envelopes [][]byte, want schema.Statement, keys []schema.AcceptedKey, threshold int,
) (verdict Verdict, err error) {
	if threshold < 1 {
		return verdict, fmt.Errorf("signature threshold %d", threshold)
	}
	var report []string
	var accepters []accepter
	for _, k := range keys {
		a, err := loadAccepted(k)
		if err != nil {
			report = append(report, fmt.Sprintf("accepted key %s cannot be read: %v", k.Name, err))
			continue
		}
		accepters = append(accepters, a)
	}
	used := map[[sha256.Size]byte]bool{} // by key, so that one key under two names counts once
	ignore := func(key string, why error) {
		reason := plain.Name(why.Error())
		report = append(report, fmt.Sprintf("%s ignored: %s", key, reason))
		if len(verdict.Ignored) < schema.MaxIgnored {
			key = strings.TrimPrefix(key, "signature by ")
			verdict.Ignored = append(verdict.Ignored, schema.IgnoredSignature{Key: key, Reason: reason})
		}
	}
	total := 0
	for i, raw := range envelopes {
		if i == schema.MaxEnvelopes {
			report = append(report, fmt.Sprintf("more than %d envelopes, the rest ignored", schema.MaxEnvelopes))
			break
		}
		env, err := decodeEnvelope(raw)
		if err != nil {
			ignore(fmt.Sprintf("envelope %d", i+1), err)
			continue
		}
		for _, s := range env.Signatures {
			if total++; total > schema.MaxEnvelopes {
				report = append(report, fmt.Sprintf("more than %d signatures, the rest ignored", schema.MaxEnvelopes))
				break
			}
			a, why := judge(env, s, want, accepters)
			if why == nil && used[a.fingerprint] {
				why = errors.New("this key has signed already")
			}
			if why != nil {
				ignore("signature by "+signerName(a, s), why)
				continue
			}
			used[a.fingerprint] = true
			report = append(report, fmt.Sprintf("signature by %s accepted", signerName(a, s)))
			verdict.Accepted = append(verdict.Accepted, a.name)
		}
		if total > schema.MaxEnvelopes {
			break
		}
	}
	if len(verdict.Accepted) >= threshold {
		return verdict, nil
	}
	if total == 0 {
		report = append(report, "the package carries no signature")
	}
	outcome := "No valid signature found"
	if len(verdict.Accepted) > 0 {
		outcome = fmt.Sprintf("%d valid of %d required signatures (by %s)",
			len(verdict.Accepted), threshold, strings.Join(verdict.Accepted, ", "))
	}
	refusal := fmt.Errorf("package %s: %s\n%s", want.Package.Short(), strings.Join(report, "\n"), outcome)
	return verdict, fault.Refuse(refusal,
		"sign the package with a key that this host's rules accept, or accept the key in the updater rule")
}

func loadAccepted(k schema.AcceptedKey) (accepter, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(k.Public))
	if err != nil {
		return accepter{}, err
	}
	id, err := KeyID(pub)
	if err != nil {
		return accepter{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return accepter{}, err
	}
	v, err := LoadVerifier(pub)
	return accepter{k.Name, id, sha256.Sum256(der), v}, err
}

func decodeEnvelope(b []byte) (*Envelope, error) {
	if len(b) > schema.MaxStatement {
		return nil, fmt.Errorf("longer than %d bytes", schema.MaxStatement)
	}
	var env Envelope
	if err := schema.Decode(b, &env); err != nil {
		return nil, err
	}
	if env.PayloadType != schema.StatementType {
		return nil, fmt.Errorf("it is a %.80q, not a package statement", env.PayloadType)
	}
	return &env, nil
}

// judge returns the key that made the signature, and why it does not count. A key id is only a hint of whose it is.
func judge(env *Envelope, s Signature, want schema.Statement, accepters []accepter) (*accepter, error) {
	payload, err := base64.StdEncoding.DecodeString(env.Payload)
	if err != nil {
		return nil, errors.New("its payload is not base64")
	}
	sig, err := base64.StdEncoding.DecodeString(s.Sig)
	if err != nil || len(sig) == 0 {
		return nil, errors.New("it is not base64")
	}
	pae := PAE(env.PayloadType, payload)
	var by *accepter
	known := false
	for i := range accepters {
		a := &accepters[i]
		if s.KeyID != "" && s.KeyID != a.id {
			continue
		}
		if known = s.KeyID != ""; known {
			by = a
		}
		if a.verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(pae)) == nil {
			got, err := schema.DecodeStatement(payload)
			switch {
			case err != nil:
				return a, err
			case got.Package != want.Package:
				return a, fmt.Errorf("it is for package %s", got.Package.Short())
			case got.Anchor != want.Anchor:
				return a, errors.New("it is for another fleet")
			case got != want:
				return a, errors.New("it describes the package differently")
			}
			return a, nil
		}
	}
	if known {
		return by, errors.New("it does not verify: altered, or not made by this key")
	}
	return nil, errors.New("its key is not accepted by this host")
}

func signerName(a *accepter, s Signature) string {
	switch {
	case a != nil:
		return "key " + a.name
	case s.KeyID != "":
		return fmt.Sprintf("key id %.16q", s.KeyID)
	}
	return "an unnamed key"
}
