package quorum

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Verifier is a quorum with keys that are ready to verify. It is safe for concurrent use.
type Verifier struct {
	keys      []readyKey
	threshold int
	name      string
}

// Signature is one of a file's.
type Signature struct {
	KeyID string
	Sig   []byte
}

type readyKey struct {
	id      string
	print   [sha256.Size]byte // of the public key: two ids of one key count once
	ed25519 ed25519.PublicKey // nil: verifier
	verify  signature.Verifier
}

// Verifier makes q's keys ready. An error is a key that cannot verify anything.
func (q Quorum) Verifier() (*Verifier, error) {
	v := &Verifier{threshold: q.Threshold}
	h := sha256.New()
	fmt.Fprintf(h, "%d", q.Threshold)
	for _, id := range q.IDs {
		if slices.ContainsFunc(v.keys, func(k readyKey) bool { return k.id == id }) {
			continue
		}
		k, err := ready(id, q.Keys[id])
		if err != nil {
			return nil, fmt.Errorf("key %.16s: %w", id, err)
		}
		v.keys = append(v.keys, k)
		fmt.Fprintf(h, " %q %q %x", id, q.Keys[id].Scheme, k.print)
	}
	v.name = hex.EncodeToString(h.Sum(nil))
	return v, nil
}

// ready chooses the algorithm of a key as go-tuf does.
func ready(id string, key *metadata.Key) (k readyKey, err error) {
	public, err := key.ToPublicKey()
	if err != nil {
		return k, err
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return k, err
	}
	k.id, k.print = id, sha256.Sum256(der)
	hash := crypto.SHA256
	if key.Scheme == metadata.KeySchemeECDSA_SHA2_P384 {
		hash = crypto.SHA384
	}
	switch p := public.(type) {
	case ed25519.PublicKey:
		k.ed25519 = p
	case *rsa.PublicKey:
		k.verify, err = signature.LoadRSAPSSVerifier(p, hash, &rsa.PSSOptions{Hash: crypto.SHA256})
	default:
		k.verify, err = signature.LoadVerifier(public, hash)
	}
	return k, err
}

// Name is a digest of the keys, their ids and the threshold: what was verified under one name holds under the same.
func (v *Verifier) Name() string { return v.name }

func (k readyKey) signed(message, sig []byte) bool {
	if k.ed25519 != nil {
		return len(k.ed25519) == ed25519.PublicKeySize && ed25519.Verify(k.ed25519, message, sig)
	}
	return k.verify.VerifySignature(bytes.NewReader(sig), bytes.NewReader(message)) == nil
}

// Verify returns the ids of the keys that signed message, nil if they are too few. No two signatures may name one key.
func (v *Verifier) Verify(message []byte, sigs []Signature) (signers []string) {
	counted := map[[sha256.Size]byte]bool{}
	for _, k := range v.keys {
		for _, s := range sigs {
			if s.KeyID == k.id && k.signed(message, s.Sig) {
				signers = append(signers, k.id)
				counted[k.print] = true
			}
		}
	}
	if v.threshold < 1 || len(counted) < v.threshold {
		return nil
	}
	return signers
}
