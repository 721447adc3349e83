package keys

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/trust/statement"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/schema"
)

// Info is what is known of a key here, as `key list --json` prints it.
type Info struct {
	Name      string     `json:"name"`
	Uses      []string   `json:"uses"`
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Private   string     `json:"private"` // file in the key directory, or URI
	Expires   *time.Time `json:"expires,omitempty"`
	Retired   *time.Time `json:"retired,omitempty"`
	Certified bool       `json:"certified,omitempty"` // the repo holds its certificate
	State     string     `json:"state"`               // a State… constant
	Checked   bool       `json:"checked"`             // the private half says that it belongs to the public one, or not
	Why       string     `json:"why,omitempty"`       // it is not usable
	Expiry    string     `json:"expiry,omitempty"`    // a schema.Key… constant
	Public    string     `json:"public"`              // PEM
}

// List is what is known of every key of the fleet here, by name. Neither is a passphrase asked for nor a key service
// called.
func (k *Keyring) List(expiry schema.KeyExpiry) ([]Info, error) {
	infos := []Info{}
	for _, name := range slices.Sorted(maps.Keys(k.keys)) {
		info, err := k.Info(name, expiry)
		if err != nil {
			return nil, err
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Info is what is known of a key here.
func (k *Keyring) Info(name string, expiry schema.KeyExpiry) (Info, error) {
	key, err := k.Key(name)
	if err != nil {
		return Info{}, err
	}
	info := Info{Name: key.Name, Uses: key.Uses, Private: cmp.Or(key.Private, FileName(key.Name)),
		Certified: key.Certificate != "", Public: key.Public}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return info, fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	info.Type = keyType(pub)
	if info.ID, err = statement.KeyID(pub); err != nil {
		return info, err
	}
	if !key.Expires.IsZero() {
		info.Expires = &key.Expires
		info.Expiry = expiry.Of(key.Expires, k.Now())
	}
	if !key.Retired.IsZero() {
		info.Retired = &key.Retired
	}
	info.State, info.Checked, err = k.inspect(key)
	if err != nil {
		info.Why = err.Error()
	}
	return info, nil
}

// StateText is the state for people: a file that was written before files said which key they are of is not checked.
func (i *Info) StateText() string {
	if i.State == StateUsable && !i.Checked && !strings.Contains(i.Private, "://") {
		return i.State + " (not checked)"
	}
	return i.State
}

// keyType names the type of a public key, as --type has it.
func keyType(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ecdsa-p256" // no other curve is accepted
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	}
	return "ed25519"
}
