package keys

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/agent/trust/statement"
	"bakehouse/reconcile/keys/internal/box"
	"bakehouse/schema/fault"
)

var errExposed = errors.New("others than its owner can read it")

// maxKeyFile bounds a file of a key, in bytes.
const maxKeyFile = 64 << 10

// readPrivate reads a file of a private key, unless others can read it too.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxKeyFile:
		return nil, fmt.Errorf("%s is not a file of a key", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fault.Hint(fmt.Errorf("%s has mode %04o: %w", path, info.Mode().Perm(), errExposed),
			"close it (chmod 600 %s), and replace the key if somebody may have read it", path)
	}
	return io.ReadAll(io.LimitReader(f, maxKeyFile))
}

// checkEncrypted says what is wrong with a file of a private key, as far as that shows without its passphrase.
func checkEncrypted(b []byte) error {
	block, _ := pem.Decode(b)
	if block == nil || !slices.Contains(sealedTypes, block.Type) {
		return fault.Hint(errors.New("not an encrypted private key"),
			"restore the file from a backup, or import the key that it is: bakehouse key import")
	}
	if !json.Valid(block.Bytes) { // see package box
		return errors.New("the key file is damaged")
	}
	return nil
}

// sealedTypes are the PEM types of private halves as we keep them, and as cosign once wrote them.
var sealedTypes = []string{string(cryptoutils.EncryptedSigstorePrivateKeyPEMType), "ENCRYPTED COSIGN PRIVATE KEY"}

// unseal decrypts a block of one of sealedTypes.
func unseal(block *pem.Block, pass []byte) (crypto.PrivateKey, error) {
	der, err := box.Open(block.Bytes, pass)
	if err != nil {
		return nil, err
	}
	return x509.ParsePKCS8PrivateKey(der)
}

// decrypt opens the file of the key of that name.
func decrypt(name string, b []byte, find Passphrase) (crypto.PrivateKey, error) {
	if err := checkEncrypted(b); err != nil {
		return nil, err
	}
	pass, err := find(name, false)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	priv, err := unseal(block, pass)
	if err != nil {
		// A damaged file cannot be told apart: both fail the same authentication.
		return nil, fault.Hint(errors.New("wrong passphrase, or the key file is damaged"),
			"give the passphrase in %s, with --passphrase-file or at the prompt", passphraseVariable(name))
	}
	return priv, nil
}

// encrypt is the private half as it is kept: cosign's format.
func encrypt(priv crypto.PrivateKey, pass []byte) ([]byte, error) {
	if len(pass) == 0 {
		return nil, errors.New("an empty passphrase protects nothing")
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, err
	}
	sealed, err := box.Seal(der, pass)
	if err != nil {
		return nil, err
	}
	block := &pem.Block{Type: sealedTypes[0], Bytes: sealed}
	if signer, ok := priv.(crypto.Signer); ok {
		id, err := statement.KeyID(signer.Public())
		if err != nil {
			return nil, err
		}
		block.Headers = map[string]string{publicHeader: id}
	}
	return pem.EncodeToMemory(block), nil
}

// publicHeader says in a file of a private half which public half it belongs to, so that a mix-up shows without the
// passphrase. Nothing else goes by it: who signs compares the halves themselves.
const publicHeader = "Public-Key-Id"
