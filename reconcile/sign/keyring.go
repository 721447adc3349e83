package sign

import (
	"crypto"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Keyring signs with the keys of a fleet whose private halves are at hand. A key is decrypted once, when it is first
// needed. It is safe for concurrent use.
type Keyring struct {
	keys map[string]*fleet.Key
	dir  string
	pass Passphrase
	now  func() time.Time

	mu      sync.Mutex
	signers map[string]signature.Signer
}

// OpenKeys makes a keyring of f's keys. Nothing is read yet; see Unlock.
func OpenKeys(f *fleet.Fleet, keyDir string, pass Passphrase) *Keyring {
	return &Keyring{keys: f.Keys, dir: keyDir, pass: pass, now: time.Now, signers: map[string]signature.Signer{}}
}

// DefaultKeyDir is where private halves are kept unless --key-dir says otherwise.
func DefaultKeyDir() string {
	d, err := os.UserConfigDir()
	if err != nil {
		return "keys"
	}
	return filepath.Join(d, "bakehouse", "keys")
}

// Unlock decrypts keys for each of the uses, as many as sign for it, so that a missing key or a wrong passphrase is
// found out before any work.
func (k *Keyring) Unlock(uses ...string) error {
	for _, use := range uses {
		names, err := k.Names(use)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, err := k.Signer(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// Names lists the keys with that use that can sign here and now, in order; an error if there is none.
func (k *Keyring) Names(use string) ([]string, error) {
	var names, why []string
	for name, key := range k.keys {
		if !slices.Contains(key.Uses, use) {
			continue
		}
		if err := k.usable(key); err != nil {
			why = append(why, err.Error())
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	slices.Sort(why)
	switch {
	case len(names) > 0:
		return names, nil
	case len(why) > 0:
		return nil, schema.Hint(fmt.Errorf("no key with the use %s can sign here: %s", use, strings.Join(why, "; ")),
			"name the folder of the private keys with --key-dir")
	}
	return nil, schema.Hint(fmt.Errorf("no key has the use %s", use), "make one: bakehouse key create NAME --use %s", use)
}

func (k *Keyring) usable(key *fleet.Key) error {
	if !key.Expires.IsZero() && !k.now().Before(key.Expires) {
		return fmt.Errorf("key %s expired at %s", key.Name, key.Expires.UTC().Format(time.RFC3339))
	}
	path, err := k.path(key)
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("key %s: %w", key.Name, err)
	}
	return nil
}

// path is where the key's private half lies. The name comes from the repo, which must not point out of the folder.
func (k *Keyring) path(key *fleet.Key) (string, error) {
	file := key.Private
	if file == "" {
		file = key.Name + keySuffix
	}
	if strings.Contains(file, "://") {
		return "", fmt.Errorf("key %s: this version knows no keys at %.40q", key.Name, file)
	}
	if !filepath.IsLocal(file) {
		return "", fmt.Errorf("key %s: private half %.80q is not a file name", key.Name, file)
	}
	return filepath.Join(k.dir, file), nil
}

const keySuffix = ".key"

// Signer returns the key's signer, decrypting its private half if need be.
func (k *Keyring) Signer(name string) (signature.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.signers[name]; s != nil {
		return s, nil
	}
	key := k.keys[name]
	if key == nil {
		return nil, schema.Hint(fmt.Errorf("there is no key %.80q", name), "see bakehouse key list")
	}
	if err := k.usable(key); err != nil {
		return nil, schema.Hint(err, "name the folder of the private keys with --key-dir")
	}
	path, err := k.path(key)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	priv, err := k.decrypt(name, b)
	if err != nil {
		return nil, fmt.Errorf("key %s (%s): %w", name, path, err)
	}
	s, err := loadSigner(priv)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", name, err)
	}
	if err := samePublic(s, key); err != nil {
		return nil, err
	}
	k.signers[name] = s
	return s, nil
}

func (k *Keyring) decrypt(name string, b []byte) (crypto.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != string(cryptoutils.EncryptedSigstorePrivateKeyPEMType) {
		return nil, schema.Hint(errors.New("not an encrypted private key"), "make keys with bakehouse key create")
	}
	pass, err := k.pass(name, false)
	if err != nil {
		return nil, err
	}
	priv, err := cryptoutils.UnmarshalPEMToPrivateKey(b, cryptoutils.StaticPasswordFunc(pass))
	if err != nil {
		// The only thing that can be told apart from a damaged file is nothing: both fail the same authentication.
		return nil, schema.Hint(errors.New("wrong passphrase, or the key file is damaged"),
			"give the passphrase in %s, with --passphrase-file or at the prompt", passphraseVariable(name))
	}
	return priv, nil
}

func samePublic(s signature.Signer, key *fleet.Key) error {
	pub, err := s.PublicKey()
	if err != nil {
		return err
	}
	got, err := trust.KeyID(pub)
	if err != nil {
		return err
	}
	want, err := keyID(key)
	if err != nil {
		return err
	}
	if got != want {
		return schema.Hint(fmt.Errorf("key %s: the private half does not belong to the public half in keys/", key.Name),
			"another key of that name may lie in the folder of --key-dir")
	}
	return nil
}

// keyID is the TUF key id of the key's public half.
func keyID(key *fleet.Key) (string, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return "", fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	return trust.KeyID(pub)
}

func loadSigner(priv crypto.PrivateKey) (signature.Signer, error) {
	if k, ok := priv.(*rsa.PrivateKey); ok {
		return signature.LoadRSAPSSSigner(k, crypto.SHA256, &rsa.PSSOptions{Hash: crypto.SHA256})
	}
	return signature.LoadSigner(priv, crypto.SHA256)
}

// exists reports whether there is anything at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
