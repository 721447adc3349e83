package accept

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/agent/trust/statement"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Signatures are those on a package.
type Signatures struct {
	Statement schema.Statement
	Envelopes [][]byte
	By        []string // names of keys in the repository, sorted
	Unknown   []string // ids of other keys, or of those that did not make what is said to be theirs

	keys []schema.AcceptedKey // those of the repository
}

// On reads the signatures that the store has, and tells whose they are. A retired key's still count as made by it.
func On(ctx context.Context, st store.Store, s schema.Statement, f *fleet.Fleet) (*Signatures, error) {
	var keys []schema.AcceptedKey
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		if k := f.Keys[name]; slices.Contains(k.Uses, fleet.UsePackage) {
			keys = append(keys, schema.AcceptedKey{Name: name, Public: k.Public})
		}
	}
	found := &Signatures{Statement: s, By: []string{}, keys: keys}
	prefix := schema.StatementsPrefix(s.Manifest)
	for e, err := range st.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		b, err := store.Read(ctx, st, e.Key, schema.MaxStatement)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found.Envelopes = append(found.Envelopes, b)
		names, err := statement.Verify([][]byte{b}, s, keys, 1)
		if err != nil {
			found.Unknown = append(found.Unknown, strings.TrimSuffix(e.Key[len(prefix):], ".json"))
			continue
		}
		found.By = append(found.By, names...)
	}
	slices.Sort(found.By)
	return found, nil
}
