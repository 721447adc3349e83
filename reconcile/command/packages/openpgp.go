package packages

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"bakehouse/reconcile/keys"
	"bakehouse/schema/fault"
)

// openPGPKey is a secret key as `gpg --export-secret-keys` writes it. It vouches for copies of packages to package
// managers and repositories, which know nothing of ours; no updater of ours believes it.
type openPGPKey struct {
	entity *openpgp.Entity
	config *packet.Config
}

// openPGPName is the key's name where passphrases are looked for.
const openPGPName = "openpgp"

func readOpenPGPKey(file string, passphrase keys.Passphrase) (*openPGPKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Hint(err,
			"write the key to a file that only you read: gpg --export-secret-keys --armor KEY > FILE")
	}
	read := openpgp.ReadKeyRing
	if bytes.HasPrefix(bytes.TrimSpace(b), []byte("-----BEGIN")) {
		read = openpgp.ReadArmoredKeyRing
	}
	keys, err := read(bytes.NewReader(b))
	k := &openPGPKey{config: &packet.Config{}}
	switch {
	case err != nil:
	case len(keys) != 1:
		err = fmt.Errorf("it has %d keys", len(keys))
	case keys[0].PrivateKey == nil:
		err = errors.New("it has the public half only")
	default:
		k.entity = keys[0]
		if _, ok := k.entity.SigningKey(k.config.Now()); !ok {
			err = errors.New("it cannot sign, or has expired")
		}
	}
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("OpenPGP key %s: %w", file, err),
			"export one secret key that signs: gpg --export-secret-keys --armor KEY > FILE")
	}
	if k.signer().PrivateKey.Encrypted {
		pass, err := passphrase(openPGPName, false)
		if err != nil {
			return nil, err
		}
		if err := k.entity.DecryptPrivateKeys(pass); err != nil {
			return nil, fault.Hint(fmt.Errorf("OpenPGP key %s: the passphrase does not fit", file),
				"see `bakehouse package --help` for where it is looked for")
		}
	}
	return k, nil
}

func (k *openPGPKey) signer() openpgp.Key {
	s, _ := k.entity.SigningKey(k.config.Now())
	return s
}

// Sign implements seal.OpenPGP.
func (k *openPGPKey) Sign(message io.Reader) ([]byte, error) {
	var b bytes.Buffer
	err := openpgp.DetachSign(&b, k.entity, message, k.config)
	return b.Bytes(), err
}

// RSA implements seal.OpenPGP.
func (k *openPGPKey) RSA() bool { return k.signer().PublicKey.PubKeyAlgo == packet.PubKeyAlgoRSA }

// armored is a detached signature over all of r, as gpg --verify reads it.
func (k *openPGPKey) armored(w io.Writer, r io.Reader) error {
	signature, err := k.Sign(r)
	if err != nil {
		return err
	}
	a, err := armor.Encode(w, openpgp.SignatureType, nil)
	if err == nil {
		_, err = a.Write(signature)
	}
	if err == nil {
		err = a.Close()
	}
	if err == nil {
		_, err = io.WriteString(w, "\n")
	}
	return err
}
