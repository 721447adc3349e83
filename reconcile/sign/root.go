package sign

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// roles are the TUF roles that keys/ gives keys to; a key's use has the role's name.
var roles = []string{fleet.UseRoot, fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp}

// rootField is what a root says besides TUF's own fields. The names are for people: they say who is who where keys/ no
// longer does.
type rootField struct {
	trust.RootInfo
	Names map[string]string `json:"names,omitempty"` // of its keys, by id
}

// newRoot derives root metadata from the uses and thresholds in f's keys/.
func newRoot(f *fleet.Fleet, version int64, bins int, now time.Time) (*metadata.Metadata[metadata.RootType], error) {
	if bins < 2 || bins > trust.MaxBins || bits.OnesCount(uint(bins)) != 1 {
		return nil, fault.Hint(fmt.Errorf("%d bins", bins), "choose a power of two from 2 to %d; about a hundred hosts per bin is right", trust.MaxBins)
	}
	root := metadata.Root(wholeSeconds(now.Add(f.Lifetimes.Root)))
	root.Signed.Version = version
	names := map[string]string{}
	var missing []string
	for _, role := range roles {
		root.Signed.Roles[role].Threshold = f.Threshold(role)
		n := 0
		for _, key := range sortedKeys(f) {
			if !key.Has(role) {
				continue
			}
			k, err := tufKey(key)
			if err != nil {
				return nil, err
			}
			if err := root.Signed.AddKey(k, role); err != nil {
				return nil, err
			}
			id, err := keyID(key)
			if err != nil {
				return nil, err
			}
			names[id] = key.Name
			n++
		}
		if n == 0 {
			missing = append(missing, role)
		}
	}
	if len(missing) > 0 {
		use := strings.Join(missing, ",")
		return nil, fault.Hint(fmt.Errorf("no key in keys/ has the use %s", strings.Join(missing, ", nor ")),
			"make one: bakehouse key create NAME --use %s", use)
	}
	root.Signed.UnrecognizedFields = map[string]any{trust.RootField: rootField{trust.RootInfo{Fleet: f.Name, Bins: bins}, names}}
	return root, nil
}

func sortedKeys(f *fleet.Fleet) []*fleet.Key {
	var keys []*fleet.Key
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		keys = append(keys, f.Keys[name])
	}
	return keys
}

func tufKey(key *fleet.Key) (*metadata.Key, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return nil, fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	return metadata.KeyFromPublicKey(pub)
}

// signRole signs md with as many of the fleet's keys as the role needs. A signature more than that is only weight.
func signRole[T metadata.Roles](md *metadata.Metadata[T], role *metadata.Role, f *fleet.Fleet, keys *Keyring) ([]byte, error) {
	md.ClearSignatures()
	var why []error
	for _, key := range sortedKeys(f) {
		if len(md.Signatures) >= role.Threshold {
			break
		}
		id, err := keyID(key)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(role.KeyIDs, id) {
			continue
		}
		if err := keys.usable(key); err != nil {
			why = append(why, err)
			continue
		}
		s, err := keys.Signer(key.Name)
		if err != nil {
			return nil, err
		}
		if _, err := addSignature(md, key.Name, s); err != nil {
			return nil, err
		}
	}
	if n := len(md.Signatures); n < role.Threshold {
		return nil, fault.Hint(fmt.Errorf("%d of %d keys can sign here: %w", n, role.Threshold, errors.Join(why...)),
			"name the folder of the private keys with --key-dir")
	}
	return md.ToBytes(false)
}

// addSignature signs md. go-tuf does not say why a signer failed, so that is caught on the way.
func addSignature[T metadata.Roles](md *metadata.Metadata[T], name string, s signature.Signer) (*metadata.Signature, error) {
	heard := &hearing{Signer: s}
	sig, err := md.Sign(heard)
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", name, cmp.Or(heard.err, err))
	}
	return sig, nil
}

// hearing keeps a signer's error.
type hearing struct {
	signature.Signer
	err error
}

func (h *hearing) SignMessage(message io.Reader, opts ...signature.SignOption) ([]byte, error) {
	sig, err := h.Signer.SignMessage(message, opts...)
	h.err = err
	return sig, err
}

// agree reports how the newest root and keys/ differ. Publishing under a root that does not say what the repo says
// would make the repo's review worthless.
func agree(root *metadata.Metadata[metadata.RootType], f *fleet.Fleet) error {
	var wrong []string
	for _, role := range roles {
		in := map[string]string{}
		for _, key := range sortedKeys(f) {
			if key.Has(role) {
				id, err := keyID(key)
				if err != nil {
					return err
				}
				in[id] = key.Name
			}
		}
		for _, id := range root.Signed.Roles[role].KeyIDs {
			if in[id] == "" {
				wrong = append(wrong, fmt.Sprintf("key %s may sign %s but no key in keys/ may", called(root, id), role))
			}
			delete(in, id)
		}
		for _, name := range slices.Sorted(maps.Values(in)) {
			wrong = append(wrong, fmt.Sprintf("key %s has the use %s but may not sign it", name, role))
		}
		if in, is := f.Threshold(role), root.Signed.Roles[role].Threshold; in != is {
			wrong = append(wrong, fmt.Sprintf("%d keys have to sign %s, and thresholds in keys/ say %d", is, role, in))
		}
	}
	if info, _ := trust.Info(root); info.Fleet != f.Name {
		wrong = append(wrong, fmt.Sprintf("it is of fleet %q, not %q", info.Fleet, f.Name))
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.Hint(fmt.Errorf("trust/%d.root.json: keys/ disagree with it: %s", root.Signed.Version, strings.Join(wrong, "; ")),
		"make the root that says the same (bakehouse root next) and have it signed, or change keys/ back")
}

// namesIn are the names that a root gives its keys, by id.
func namesIn(root *metadata.Metadata[metadata.RootType]) map[string]string {
	names := map[string]string{}
	field, _ := root.Signed.UnrecognizedFields[trust.RootField].(map[string]any)
	in, _ := field["names"].(map[string]any)
	for id, name := range in {
		if name, ok := name.(string); ok && schema.CheckName(name) == nil && root.Signed.Keys[id] != nil {
			names[id] = name
		}
	}
	return names
}

// called is what people call the key.
func called(root *metadata.Metadata[metadata.RootType], id string) string {
	if name := namesIn(root)[id]; name != "" {
		return fmt.Sprintf("%s (id %.16s)", name, id)
	}
	return fmt.Sprintf("id %.16s", id)
}

// wholeSeconds is t as TUF metadata carry it.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
