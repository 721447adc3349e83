package bundle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/quorum"
	"bakehouse/agent/trust/statement"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
	"bakehouse/serve/store/maintain"
)

// Base is what the receiver has already. The zero Base is nothing.
type Base struct {
	Since int64           // version of its timestamp, 0 for none; the store has to have that state still
	Have  map[string]bool // keys of its objects, if it listed them; nil: it did not
}

// Signer signs with as many keys as a role needs.
type Signer func(message []byte, role *metadata.Role) ([]quorum.Signature, error)

// Write writes the difference between a base and the newest state of a store, which is verified from a root that is
// trusted. Statements and lists of contents go with their packages.
func Write(ctx context.Context, w io.Writer, s store.Store, anchor []byte, base Base, sign Signer) (*Index, error) {
	h, err := maintain.OpenHistory(ctx, s, anchor)
	if err != nil {
		return nil, err
	}
	if len(h.Versions()) == 0 {
		return nil, fault.Hint(errors.New("the store holds no release"), "publish one with bakehouse reconcile")
	}
	index, err := list(ctx, h, s, base)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(index)
	if err != nil {
		return nil, err
	}
	root, err := trust.VerifyRoots(h.Roots())
	if err != nil {
		return nil, err
	}
	sigs, err := sign(statement.PAE(payloadType, text), root.Signed.Roles[metadata.TIMESTAMP])
	if err != nil {
		return nil, err
	}
	begin, err := head(text, sigs)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(begin); err != nil {
		return nil, err
	}
	for _, o := range index.Objects {
		if err := copyObject(ctx, w, s, o); err != nil {
			return nil, err
		}
	}
	return index, nil
}

// list makes the index.
func list(ctx context.Context, h *maintain.History, s store.Store, base Base) (*Index, error) {
	newest := h.Versions()[0]
	keys, err := maintain.Objects(ctx, h, newest)
	if err != nil {
		return nil, err
	}
	has := base.Have
	index := &Index{Schema: schemaOf, From: base.Since, To: newest, Objects: []Object{}}
	switch {
	case base.Since > newest:
		return nil, fault.Hint(fmt.Errorf("the receiver is at timestamp %d, and the store at %d", base.Since, newest),
			"is that the right store?")
	case base.Since > 0:
		old, err := maintain.Objects(ctx, h, base.Since)
		if errors.Is(err, fs.ErrNotExist) {
			err = fault.Hint(
				fmt.Errorf("the store does not have the state of timestamp %d any more: %w", base.Since, err),
				"list what the receiver has (bakehouse store list) and set --have to that file")
		}
		if err != nil {
			return nil, err
		}
		has = map[string]bool{}
		for _, key := range old {
			has[key] = !isRole(key, "root") // which of them came later is not known, and they are small
		}
	}
	for key := range has {
		if v, ok := schema.ParseTimestampKey(key); ok {
			index.From = max(index.From, v)
		}
	}
	for _, key := range keys {
		if has[key] && key != schema.TimestampKey(newest) {
			continue
		}
		if _, ok := rank(key); !ok {
			return nil, fmt.Errorf("bundle: %s has no place in one", key)
		}
		r, err := s.Open(ctx, key)
		if err != nil {
			return nil, err
		}
		sum, n, err := digest(r)
		r.Close()
		if err != nil {
			return nil, err
		}
		index.Objects = append(index.Objects, Object{Key: key, Size: n, SHA256: sum})
	}
	slices.SortFunc(index.Objects, func(a, b Object) int { return compare(a.Key, b.Key) })
	return index, nil
}

func copyObject(ctx context.Context, w io.Writer, s store.Store, o Object) error {
	r, err := s.Open(ctx, o.Key)
	if err != nil {
		return err
	}
	defer r.Close()
	in, err := kinds.Checked(o.Key, kinds.Digested(r, o.SHA256, o.Key))
	if err != nil {
		return fault.Hint(err, "run bakehouse store fsck")
	}
	n, err := io.Copy(w, in)
	if err == nil && n != o.Size {
		err = fmt.Errorf("%s changed while it was read", o.Key)
	}
	return err
}
