package keys

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bakehouse/agent/trust/statement"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Keyring signs with the keys of a fleet whose private halves are at hand. A key is decrypted once, when it is first
// needed. It is safe for concurrent use.
type Keyring struct {
	Now func() time.Time // which keys are valid goes by it

	keys     map[string]*fleet.Key
	dir      string
	pass     Passphrase
	services services

	mu      sync.Mutex
	signers map[string]Signers
}

// Signers are one key's: of TUF metadata and of statements, which TUF and cosign have in different forms for RSA.
type Signers struct {
	Metadata  signature.Signer // Ed25519, ECDSA with SHA-256, RSA-PSS with SHA-256
	Statement signature.Signer // Ed25519, ECDSA with SHA-256, RSA PKCS #1 v1.5 with SHA-256: cosign's
}

// Open makes a keyring of f's keys whose private halves are files in keyDir. Nothing is read yet; see Unlock.
func Open(f *fleet.Fleet, keyDir string, pass Passphrase) *Keyring {
	return &Keyring{keys: f.Keys, dir: keyDir, pass: pass, Now: time.Now, signers: map[string]Signers{}}
}

// For is an empty keyring for another state of the fleet, with the same access.
func (k *Keyring) For(f *fleet.Fleet) *Keyring {
	other := Open(f, k.dir, k.pass)
	other.services, other.Now = k.services, k.Now
	return other
}

// Use makes the keyring sign with s for a key, instead of what keys/ says of its private half.
func (k *Keyring) Use(name string, s Signers) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.signers[name] = s
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
			if _, err := k.open(name); err != nil {
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
		if err := k.Usable(key); err != nil {
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
		return nil, fault.Hint(fmt.Errorf("no key with the use %s can sign here: %s", use, strings.Join(why, "; ")),
			hintKeyDir)
	}
	return nil, fault.Hint(fmt.Errorf("no key has the use %s", use),
		"restore it from git if the fleet had one, or make one: bakehouse key create NAME --use %s", use)
}

// path is the file of the key's private half. The name comes from the repo, which must not point out of the directory.
func (k *Keyring) path(key *fleet.Key) (string, error) {
	file := key.Private
	if file == "" {
		file = FileName(key.Name)
	}
	if !filepath.IsLocal(file) {
		return "", fmt.Errorf("key %s: private half %.80q is not a file name", key.Name, file)
	}
	return filepath.Join(k.dir, file), nil
}

// FileName is the file of the private half of the key of that name, unless keys/ says otherwise.
func FileName(key string) string { return key + ".key" }

// Key finds a key by name.
func (k *Keyring) Key(name string) (*fleet.Key, error) {
	key := k.keys[name]
	if key == nil {
		return nil, fault.Hint(fmt.Errorf("unknown key %.80q", name), "see bakehouse key list")
	}
	return key, nil
}

// MetadataSigner returns what signs TUF metadata with the key, decrypting its private half if need be.
func (k *Keyring) MetadataSigner(name string) (signature.Signer, error) {
	s, err := k.open(name)
	return s.Metadata, err
}

// StatementSigner returns what signs statements on packages with the key, decrypting its private half if need be.
func (k *Keyring) StatementSigner(name string) (signature.Signer, error) {
	s, err := k.open(name)
	return s.Statement, err
}

func (k *Keyring) open(name string) (Signers, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.Key(name)
	if err != nil {
		return Signers{}, err
	}
	state, err := k.state(key)
	s, ok := k.signers[name]
	if ok && (err == nil || state == StateElsewhere) {
		return s, nil
	}
	if err != nil {
		return Signers{}, fault.Hint(err, "%s", orHint(err, map[string]string{
			StateEarly:   "sign with another key until then",
			StateExpired: "sign with the key that follows it",
			StateRetired: "sign with the key that followed it",
		}[state], hintKeyDir))
	}
	if strings.Contains(key.Private, "://") {
		s, err = k.services.signers(key)
	} else {
		var priv crypto.PrivateKey
		if priv, err = k.private(key); err == nil {
			s, err = LoadSigners(priv)
		}
	}
	if err != nil {
		return Signers{}, err
	}
	if err := samePublic(s.Metadata, key); err != nil {
		return Signers{}, err
	}
	k.signers[name] = s
	return s, nil
}

// private reads and decrypts the key's private half.
func (k *Keyring) private(key *fleet.Key) (crypto.PrivateKey, error) {
	path, err := k.path(key)
	if err != nil {
		return nil, err
	}
	b, err := readPrivate(path)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", key.Name, err)
	}
	priv, err := decrypt(key.Name, b, k.pass)
	if err != nil {
		return nil, fmt.Errorf("key %s (%s): %w", key.Name, path, err)
	}
	return priv, nil
}

func samePublic(s signature.PublicKeyProvider, key *fleet.Key) error {
	pub, err := s.PublicKey()
	if err != nil {
		return fmt.Errorf("key %s: %w", key.Name, err)
	}
	got, err := statement.KeyID(pub)
	if err != nil {
		return err
	}
	want, err := ID(key)
	if err != nil {
		return err
	}
	if got != want {
		return mismatch(key)
	}
	return nil
}

func mismatch(key *fleet.Key) error {
	return fault.Hint(fmt.Errorf("key %s: the private half does not belong to the public half in keys/", key.Name),
		"another key of that name may be in the directory of --key-dir")
}

// ID is the TUF key id of the key's public half.
func ID(key *fleet.Key) (string, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return "", fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	return statement.KeyID(pub)
}

// LoadSigners are the signers of a private key.
func LoadSigners(priv crypto.PrivateKey) (s Signers, err error) {
	if s.Statement, err = signature.LoadSigner(priv, crypto.SHA256); err != nil {
		return s, err
	}
	s.Metadata = s.Statement
	if k, ok := priv.(*rsa.PrivateKey); ok {
		// Without options: they would be written to at each signature, unguarded.
		s.Metadata, err = signature.LoadRSAPSSSigner(k, crypto.SHA256, nil)
	}
	return s, err
}

// hintKeyDir is what to do about a private half that is not there.
const hintKeyDir = "set the directory of the private keys with --key-dir"

// orHint is err's own hint, or else the first of the others.
func orHint(err error, hints ...string) string {
	return cmp.Or(append([]string{fault.HintOf(err)}, hints...)...)
}
