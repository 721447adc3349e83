// Package envelopes reads the signatures on a package from the store, as a server hands them out with the manifest: as
// many and as long as a host takes, whatever else a writer of the store has put there.
package envelopes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// On returns the envelopes on the package of a manifest, without the payloads that follow from what; never nil. A file
// that cannot be read is told to broken and hides no other.
func On(ctx context.Context, st store.Store, manifest schema.Digest, what schema.Statement,
	broken func(key string, err error)) ([]json.RawMessage, error) {
	list := []json.RawMessage{}
	room := int64(schema.MaxStatement - 2)
	for e, err := range st.List(ctx, schema.StatementsPrefix(manifest), "") {
		if err != nil {
			return nil, err
		}
		b, err := store.Read(ctx, st, e.Key, room)
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone since it was listed
		}
		var compact bytes.Buffer
		if err == nil {
			err = json.Compact(&compact, b)
		}
		if err != nil {
			broken(e.Key, err)
			continue
		}
		list = append(list, what.Shorten(compact.Bytes()))
		room -= int64(compact.Len()) + 1
		if len(list) == schema.MaxEnvelopes || room <= 0 {
			break
		}
	}
	return list, nil
}
