package source

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"bakehouse/schema/fault"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// keyring holds the OpenPGP keys that may sign, as `gpg --export` writes them, armored or not.
type keyring struct {
	name string // of the file
	keys openpgp.EntityList
}

const (
	maxKeyring = 16 << 20 // bytes of a file

	armorPublic  = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
	armorPrivate = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
)

// sound are the hashes that a signature may be over. The library would also take SHA-1, which collides.
var sound = []crypto.Hash{crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}

func parseKeyring(name string, b []byte) (*keyring, error) {
	k := &keyring{name: name}
	hint := "export the signers' public keys: gpg --export --armor ADDRESS… > FILE"
	if len(b) > maxKeyring {
		return nil, fmt.Errorf("%s: larger than %d bytes, so it is no keyring", name, maxKeyring)
	}
	if bytes.Contains(b, []byte(armorPrivate)) {
		return nil, fault.Hint(fmt.Errorf("%s: holds a private key", name), "%s", hint)
	}
	// The library reads the first armored block of a file only, and `cat` makes files of several.
	blocks := bytes.Split(b, []byte(armorPublic))
	for i, block := range blocks[1:] {
		keys, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(append([]byte(armorPublic), block...)))
		if err != nil {
			return nil, fault.Hint(fmt.Errorf("%s: key block %d: %w", name, i+1, err), "%s", hint)
		}
		k.keys = append(k.keys, keys...)
	}
	if len(blocks) == 1 {
		var err error
		if k.keys, err = openpgp.ReadKeyRing(bytes.NewReader(b)); err != nil {
			return nil, fault.Hint(fmt.Errorf("%s: no OpenPGP public keys: %w", name, err), "%s", hint)
		}
	}
	if len(k.keys) == 0 {
		return nil, fault.Hint(fmt.Errorf("%s: allows nobody to sign", name), "%s", hint)
	}
	for _, e := range k.keys {
		if e.PrivateKey != nil {
			return nil, fault.Hint(fmt.Errorf("%s: holds a private key", name), "%s", hint)
		}
	}
	return k, nil
}

// maxSkew is how far a signer's clock may be ahead of this machine's.
const maxSkew = 10 * time.Minute

// verify checks a detached armored signature over payload, and returns who made it. As with gpg and git, a key that has
// expired or is revoked now vouches for nothing, whenever it signed: a signature tells its own time, so it proves none.
func (k *keyring) verify(payload []byte, signature string, now time.Time) (who string, err error) {
	sig, signer, err := k.check(payload, signature, now)
	if errors.Is(err, pgperrors.ErrSignatureExpired) && sig.CreationTime.After(now) {
		if sig.CreationTime.After(now.Add(maxSkew)) {
			return "", fmt.Errorf("its OpenPGP signature is of %s, which is yet to come", stamp(sig.CreationTime))
		}
		_, signer, err = k.check(payload, signature, sig.CreationTime)
	}
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return "", fmt.Errorf("its OpenPGP key is not in %s, or may not sign", k.name)
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrKeyRevoked),
		errors.Is(err, pgperrors.ErrSignatureExpired):
		return "", fmt.Errorf("its OpenPGP key %X (%s): %w", signer.PrimaryKey.Fingerprint, k.name, err)
	case err != nil:
		return "", fmt.Errorf("its OpenPGP signature does not fit it: %w", err)
	}
	return nameOf(signer), nil
}

func (k *keyring) check(payload []byte, signature string, at time.Time) (*packet.Signature, *openpgp.Entity, error) {
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil {
		return nil, nil, err
	}
	return openpgp.VerifyDetachedSignatureAndHash(k.keys, bytes.NewReader(payload), block.Body, sound,
		&packet.Config{Time: func() time.Time { return at }})
}

// pgpIssuer is the id of the key that an armored signature names, 16 or 40 hex digits; empty if it names none.
func pgpIssuer(signature string) string {
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil {
		return ""
	}
	p, err := packet.Read(block.Body)
	if err != nil {
		return ""
	}
	switch sig, ok := p.(*packet.Signature); {
	case ok && len(sig.IssuerFingerprint) > 0:
		return fmt.Sprintf("%X", sig.IssuerFingerprint)
	case ok && sig.IssuerKeyId != nil:
		return fmt.Sprintf("%016X", *sig.IssuerKeyId)
	}
	return ""
}

// nameOf is the primary identity and the fingerprint.
func nameOf(e *openpgp.Entity) string {
	fingerprint := fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	if id := e.PrimaryIdentity(); id != nil {
		return strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '?'
			}
			return r
		}, id.Name) + " " + fingerprint
	}
	return fingerprint
}
