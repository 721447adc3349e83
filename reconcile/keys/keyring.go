package keys

import (
	"context"
	"crypto"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/evaluate"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Keyring signs with the keys of a fleet whose private halves are at hand. A key is decrypted once, when it is first
// needed. It is safe for concurrent use.
type Keyring struct {
	Now func() time.Time // which keys are valid goes by it

	keys    map[string]*fleet.Key
	dir     string
	pass    Passphrase
	plugins map[string]string // programs by the scheme of URIs

	mu      sync.Mutex
	signers map[string]signature.Signer
}

// Open makes a keyring of f's keys whose private halves are files in keyDir. Nothing is read yet; see Unlock.
func Open(f *fleet.Fleet, keyDir string, pass Passphrase) *Keyring {
	return &Keyring{keys: f.Keys, dir: keyDir, pass: pass, Now: time.Now, signers: map[string]signature.Signer{}}
}

// For is an empty keyring for another state of the fleet, with the same access.
func (k *Keyring) For(f *fleet.Fleet) *Keyring {
	other := Open(f, k.dir, k.pass)
	other.plugins, other.Now = k.plugins, k.Now
	return other
}

// Use makes the keyring sign with s for a key, instead of what keys/ says of its private half.
func (k *Keyring) Use(name string, s signature.Signer) {
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
			"name the folder of the private keys with --key-dir")
	}
	return nil, fault.Hint(fmt.Errorf("no key has the use %s", use), "make one: bakehouse key create NAME --use %s", use)
}

// States of a key on this machine, as `key list` tells them.
const (
	StateUsable    = "usable"
	StateElsewhere = "elsewhere"     // its private half is not on this machine
	StateCorrupt   = "corrupt"       // its file is no encrypted private key, or cannot be read
	StateExposed   = "exposed"       // others can read its file
	StateEarly     = "not yet valid" // its certificate begins later
	StateExpired   = "expired"
	StateRetired   = "retired"
)

// Usable says why the key cannot sign here and now.
func (k *Keyring) Usable(key *fleet.Key) error {
	_, err := k.state(key)
	return err
}

// state is a State… constant, with the error that signing would end in. Neither is a passphrase asked for nor a KMS called.
func (k *Keyring) state(key *fleet.Key) (string, error) {
	now := k.Now()
	at := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !key.Retired.IsZero():
		return StateRetired, fmt.Errorf("key %s was retired at %s", key.Name, at(key.Retired))
	case now.Before(key.NotBefore):
		return StateEarly, fmt.Errorf("key %s is valid from %s", key.Name, at(key.NotBefore))
	case !key.Expires.IsZero() && !now.Before(key.Expires):
		return StateExpired, fmt.Errorf("key %s expired at %s", key.Name, at(key.Expires))
	}
	if scheme, _, ok := strings.Cut(key.Private, "://"); ok {
		if err := k.reach(scheme); err != nil {
			return StateElsewhere, fault.Hint(fmt.Errorf("key %s: %w", key.Name, err), "%s", fault.HintOf(err))
		}
		return StateUsable, nil
	}
	path, err := k.path(key)
	if err != nil {
		return StateElsewhere, err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return StateElsewhere, fmt.Errorf("key %s: %w", key.Name, err)
		}
		return StateCorrupt, fmt.Errorf("key %s: %w", key.Name, err)
	}
	return StateUsable, nil
}

// inspect is state, and also looks into the key's file.
func (k *Keyring) inspect(key *fleet.Key) (string, error) {
	state, err := k.state(key)
	if err != nil || strings.Contains(key.Private, "://") {
		return state, err
	}
	path, err := k.path(key)
	if err != nil {
		return StateElsewhere, err
	}
	b, err := readPrivate(path)
	switch {
	case errors.Is(err, errExposed):
		return StateExposed, err
	case err == nil:
		err = checkEncrypted(b)
	}
	if err != nil {
		return StateCorrupt, fmt.Errorf("key %s (%s): %w", key.Name, path, err)
	}
	return StateUsable, nil
}

// path is where the key's private half lies. The name comes from the repo, which must not point out of the folder.
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
		return nil, fault.Hint(fmt.Errorf("there is no key %.80q", name), "see bakehouse key list")
	}
	return key, nil
}

// Signer returns the key's signer, decrypting its private half if need be.
func (k *Keyring) Signer(name string) (signature.Signer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, err := k.Key(name)
	if err != nil {
		return nil, err
	}
	state, err := k.state(key)
	s := k.signers[name]
	if s != nil && (err == nil || state == StateElsewhere) {
		return s, nil
	}
	if err != nil {
		return nil, fault.Hint(err, "%s", orHint(err, map[string]string{
			StateEarly: "sign with another key until then", StateExpired: "sign with the key that follows it", StateRetired: "sign with the key that followed it"}[state],
			"name the folder of the private keys with --key-dir"))
	}
	if strings.Contains(key.Private, "://") {
		s, err = k.remote(key)
	} else {
		var priv crypto.PrivateKey
		if priv, err = k.private(key); err == nil {
			s, err = LoadSigner(priv)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := samePublic(s, key); err != nil {
		return nil, err
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
	priv, err := k.decrypt(key.Name, b)
	if err != nil {
		return nil, fmt.Errorf("key %s (%s): %w", key.Name, path, err)
	}
	return priv, nil
}

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

// checkEncrypted says what is wrong with a file of a private key, as far as that can be told without its passphrase.
func checkEncrypted(b []byte) error {
	block, _ := pem.Decode(b)
	if block == nil || !slices.Contains(sealedTypes, block.Type) {
		return fault.Hint(errors.New("not an encrypted private key"), "make keys with bakehouse key create, or bring them with bakehouse key import")
	}
	if !json.Valid(block.Bytes) { // the form of secure-systems-lab's "encrypted"
		return errors.New("the key file is damaged")
	}
	return nil
}

// sealedTypes are the PEM types of private halves as we keep them, and as cosign once wrote them.
var sealedTypes = []string{string(cryptoutils.EncryptedSigstorePrivateKeyPEMType), "ENCRYPTED COSIGN PRIVATE KEY"}

func (k *Keyring) decrypt(name string, b []byte) (crypto.PrivateKey, error) {
	if err := checkEncrypted(b); err != nil {
		return nil, err
	}
	pass, err := k.pass(name, false)
	if err != nil {
		return nil, err
	}
	priv, err := cryptoutils.UnmarshalPEMToPrivateKey(b, cryptoutils.StaticPasswordFunc(pass))
	if err != nil {
		// The only thing that can be told apart from a damaged file is nothing: both fail the same authentication.
		return nil, fault.Hint(errors.New("wrong passphrase, or the key file is damaged"),
			"give the passphrase in %s, with --passphrase-file or at the prompt", passphraseVariable(name))
	}
	return priv, nil
}

// encrypt is the private half as it is kept: cosign's format, scrypt and secretbox.
func encrypt(priv crypto.PrivateKey, pass []byte) ([]byte, error) {
	if len(pass) == 0 {
		return nil, errors.New("an empty passphrase protects nothing")
	}
	der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(priv, cryptoutils.StaticPasswordFunc(pass))
	if err != nil {
		return nil, err
	}
	return cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der), nil
}

func samePublic(s signature.PublicKeyProvider, key *fleet.Key) error {
	pub, err := s.PublicKey()
	if err != nil {
		return fmt.Errorf("key %s: %w", key.Name, err)
	}
	got, err := trust.KeyID(pub)
	if err != nil {
		return err
	}
	want, err := ID(key)
	if err != nil {
		return err
	}
	if got != want {
		return fault.Hint(fmt.Errorf("key %s: the private half does not belong to the public half in keys/", key.Name),
			"another key of that name may lie in the folder of --key-dir")
	}
	return nil
}

// ID is the TUF key id of the key's public half.
func ID(key *fleet.Key) (string, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return "", fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	return trust.KeyID(pub)
}

// LoadSigner is a signer whose signatures hosts verify: Ed25519, ECDSA with SHA-256, RSA-PSS with SHA-256.
func LoadSigner(priv crypto.PrivateKey) (signature.Signer, error) {
	if k, ok := priv.(*rsa.PrivateKey); ok {
		return signature.LoadRSAPSSSigner(k, crypto.SHA256, nil) // options would be written to at each signature, unguarded
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

func loadFleet(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	r, err := evaluate.Load(ctx, os.DirFS(repo))
	if err != nil {
		return nil, err
	}
	return r.Fleet, nil
}

// CheckRepo reports a folder that holds no fleet repo.
func CheckRepo(repo string) error {
	if there, err := exists(filepath.Join(repo, "fleet.cue")); err != nil || !there {
		return fault.Hint(errors.Join(fmt.Errorf("%s holds no fleet.cue", repo), err),
			"name the fleet repo with --repo, or start one with bakehouse init")
	}
	return nil
}
