package keys

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// generators make key pairs, by type.
var generators = map[string]func() (crypto.Signer, error){
	DefaultType: func() (crypto.Signer, error) {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		return priv, err
	},
	"ecdsa-p256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"rsa-3072":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) },
	"rsa-4096":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) },
}

// DefaultType is the type of a key for which nobody asks for another.
const DefaultType = "ed25519"

// Types are the types of keys that Create makes, in order.
func Types() []string { return slices.Sorted(maps.Keys(generators)) }

// New is a key that is to be added to a fleet.
type New struct {
	Repo    string // directory of the fleet repo
	Name    string
	Uses    []string  // of the list Uses, at least one
	Expires time.Time // zero: never
	KMS     string    // URI in the key service that holds the private half; empty: a file does
	Type    string    // one of Types, or what the key service calls it; empty: the default of either
}

func (n *New) addition(dir string) *addition {
	key := fleet.Key{Name: n.Name, Uses: n.Uses, Expires: n.Expires, Private: n.KMS}
	return &addition{Key: key, repo: n.Repo, dir: dir}
}

// Added says where the halves of a new key are.
type Added struct {
	ID      string `json:"id"`                // as TUF has it
	Public  string `json:"public"`            // file in the repo
	Private string `json:"private,omitempty"` // file or URI; empty if it is held elsewhere
	Remote  bool   `json:"remote"`            // Private is a URI
}

// Create makes a key pair, here or in a key service, and adds it to the repo.
func (a *Access) Create(ctx context.Context, n New) (*Added, error) {
	k := n.addition(a.Dir)
	if err := k.check(); err != nil {
		return nil, err
	}
	var err error
	if k.Private != "" {
		err = k.createRemote(ctx, services(a.Plugins), n.Type)
	} else {
		err = k.create(a.Passphrase.Passphrase(ctx), cmp.Or(n.Type, DefaultType))
	}
	if err != nil {
		return nil, err
	}
	return k.added()
}

// addition is a key on its way into the repo.
type addition struct {
	fleet.Key
	repo, dir string
}

func (k *addition) publicPath() string  { return filepath.Join(k.repo, "keys", k.Name+".cue") }
func (k *addition) privatePath() string { return filepath.Join(k.dir, FileName(k.Name)) }

func (k *addition) check() error {
	if err := schema.CheckName(k.Name); err != nil {
		return err
	}
	if v := passphraseVariable(k.Name); slices.Contains(reservedVariables, v) {
		return fault.Hint(fmt.Errorf("invalid key name %s: %s is a setting", k.Name, v), "choose another name")
	}
	if len(k.Uses) == 0 {
		return fault.Hint(fmt.Errorf("key %s would have no use", k.Name),
			"set --use to one or more of %s", strings.Join(Uses, ", "))
	}
	for i, u := range k.Uses {
		if !slices.Contains(Uses, u) {
			return fault.Hint(fmt.Errorf("unknown use %.40q", u), "want %s", strings.Join(Uses, ", "))
		}
		if slices.Contains(k.Uses[:i], u) {
			return fmt.Errorf("the use %s is named twice", u)
		}
	}
	if err := absent(k.publicPath(), "choose another name: a key is never overwritten"); err != nil {
		return err
	}
	return absent(k.privatePath(), "choose another name: a key is never overwritten")
}

func absent(path, hint string) error {
	there, err := exists(path)
	if err == nil && there {
		err = fault.Hint(fmt.Errorf("%s exists", path), "%s", hint)
	}
	return err
}

// exists reports whether there is anything at path.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// create makes the pair here.
func (k *addition) create(find Passphrase, kind string) error {
	generate := generators[kind]
	if generate == nil {
		return fault.Hint(fmt.Errorf("unknown key type %.40q", kind), "want %s", strings.Join(Types(), ", "))
	}
	pass, err := find(k.Name, true)
	if err != nil {
		return err
	}
	priv, err := generate()
	if err != nil {
		return err
	}
	if err := k.setPublic(priv.Public()); err != nil {
		return err
	}
	return k.save(priv, pass)
}

// createRemote has a key service make the pair.
func (k *addition) createRemote(ctx context.Context, s services, algorithm string) error {
	service, err := s.open(ctx, k.Private)
	if err != nil {
		return err
	}
	if d, ok := service.(interface{ DefaultAlgorithm() string }); ok && algorithm == "" {
		algorithm = d.DefaultAlgorithm()
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	pub, err := service.CreateKey(ctx, algorithm)
	if err != nil {
		return err
	}
	if err := k.setPublic(pub); err != nil {
		return err
	}
	return k.writePublic()
}

func (k *addition) setPublic(pub crypto.PublicKey) error {
	if err := fleet.CheckKeyType(pub); err != nil {
		return err
	}
	public, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	k.Public = string(public)
	return err
}

// save writes the private half first: a public half in the repo whose private half was lost would be worse than the
// other way round.
func (k *addition) save(priv crypto.PrivateKey, pass []byte) error {
	if err := k.writePrivate(priv, pass); err != nil {
		return err
	}
	if err := k.writePublic(); err != nil {
		if rerr := durable.Remove(k.privatePath()); rerr != nil {
			return fmt.Errorf("%w; and %s is left over: %w", err, k.privatePath(), rerr)
		}
		return err
	}
	return nil
}

func (k *addition) writePrivate(priv crypto.PrivateKey, pass []byte) error {
	private, err := encrypt(priv, pass)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("key directory: %w", err)
	}
	if err := durable.Create(k.privatePath(), bytes.NewReader(private), 0o600); err != nil {
		return fmt.Errorf("private half: %w", err)
	}
	return nil
}

func (k *addition) writePublic() error {
	err := durable.MkdirAll(filepath.Dir(k.publicPath()), 0o755)
	if err == nil {
		err = durable.Create(k.publicPath(), bytes.NewReader(fleet.KeyFile(k.Key)), 0o644)
	}
	if err != nil {
		return fmt.Errorf("public half: %w", err)
	}
	return nil
}

// added says where the halves are now.
func (k *addition) added() (*Added, error) {
	id, err := ID(&k.Key)
	if err != nil {
		return nil, err
	}
	a := &Added{ID: id, Public: k.publicPath(), Private: k.Private, Remote: k.Private != ""}
	if there, err := exists(k.privatePath()); err == nil && there && !a.Remote {
		a.Private = k.privatePath()
	}
	return a, nil
}
