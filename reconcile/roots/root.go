package roots

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// roles are the TUF roles that keys/ gives keys to; a key's use has the role's name.
var roles = fleet.Roles

// New derives root metadata from the uses and thresholds in f's keys/.
func New(f *fleet.Fleet, version int64, bins int, now time.Time) (*metadata.Metadata[metadata.RootType], error) {
	if bins < 2 || bins > trust.MaxBins || bits.OnesCount(uint(bins)) != 1 {
		return nil, fault.Hint(fmt.Errorf("%d bins", bins),
			"choose a power of two from 2 to %d; about a hundred hosts per bin is right", trust.MaxBins)
	}
	root := metadata.Root(now.Add(f.Lifetimes.Root).UTC().Truncate(time.Second))
	root.Signed.Version = version
	names := map[string]string{}
	var missing []string
	for _, role := range roles {
		root.Signed.Roles[role].Threshold = f.Threshold(role)
		n := 0
		for _, key := range keys.Sorted(f) {
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
			id, err := keys.ID(key)
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
			"restore it from git if the fleet had one, or make one: bakehouse key create NAME --use %s", use)
	}
	// What a root says besides TUF's own fields: trust.RootInfo, and for people who is who where keys/ no longer does.
	root.Signed.UnrecognizedFields = map[string]any{
		trust.RootField: map[string]any{"fleet": f.Name, "bins": bins, "names": names}}
	return root, nil
}

// carry gives next all that before says and this version does not know, such as signed.bakehouse.log.
func carry(before, next *metadata.Metadata[metadata.RootType]) {
	over := func(into, from map[string]any) {
		for name, v := range from {
			if _, known := into[name]; !known {
				into[name] = v
			}
		}
	}
	over(next.Signed.UnrecognizedFields, before.Signed.UnrecognizedFields)
	was, _ := before.Signed.UnrecognizedFields[trust.RootField].(map[string]any)
	is, _ := next.Signed.UnrecognizedFields[trust.RootField].(map[string]any)
	over(is, was)
}

func tufKey(key *fleet.Key) (*metadata.Key, error) {
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return nil, fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	return metadata.KeyFromPublicKey(pub)
}

// Agree reports how the newest root and keys/ differ. Publishing under a root that does not say what the repo says
// would make the repo's review worthless.
func Agree(root *metadata.Metadata[metadata.RootType], f *fleet.Fleet) error {
	var wrong []string
	for _, role := range roles {
		in := map[string]string{}
		for _, key := range keys.Sorted(f) {
			if key.Has(role) {
				id, err := keys.ID(key)
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
	return fault.Hint(
		fmt.Errorf("trust/%d.root.json: keys/ disagree with it: %s", root.Signed.Version, strings.Join(wrong, "; ")),
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
