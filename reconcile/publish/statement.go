package publish

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/agent/trust/statement"

	"github.com/sigstore/sigstore/pkg/signature"

	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Statement signs that the package of m is ours, once with each of the named keys. An envelope that is there already is
// left as it is if it verifies; if not, somebody altered the store.
func Statement(
	ctx context.Context, st store.Store, ring *keys.Keyring, names []string, m *schema.Manifest, manifest schema.Digest,
) error {
	want := schema.StatementFor(m, manifest)
	payload, err := want.Encode()
	if err != nil {
		return err
	}
	for _, name := range names {
		signer, err := ring.StatementSigner(name)
		if err != nil {
			return err
		}
		key, err := ring.Key(name)
		if err != nil {
			return err
		}
		id, err := keys.ID(key)
		if err != nil {
			return err
		}
		at := schema.StatementKey(manifest, id)
		err = checkStatement(ctx, st, at, want, key)
		if errors.Is(err, fs.ErrNotExist) {
			err = addStatement(ctx, st, at, signer, id, payload)
			if errors.Is(err, fs.ErrExist) { // by another run in the meantime
				err = checkStatement(ctx, st, at, want, key)
			}
		}
		if err != nil {
			return fmt.Errorf("package %s and key %s: %w", want.Package.Short(), name, err)
		}
	}
	return nil
}

func addStatement(
	ctx context.Context, st store.Store, at string, signer signature.Signer, id string, payload []byte,
) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	sig, err := signer.SignMessage(bytes.NewReader(statement.PAE(schema.StatementType, payload)))
	if err != nil {
		return fmt.Errorf("sign: %w", err)
	}
	env, err := json.Marshal(statement.Envelope{PayloadType: schema.StatementType,
		Payload:    base64.StdEncoding.EncodeToString(payload),
		Signatures: []statement.Signature{{KeyID: id, Sig: base64.StdEncoding.EncodeToString(sig)}}})
	if err != nil {
		return err
	}
	return st.Create(ctx, at, bytes.NewReader(env))
}

func checkStatement(ctx context.Context, st store.Store, at string, want schema.Statement, key *fleet.Key) error {
	b, err := store.Read(ctx, st, at, schema.MaxStatement)
	if err != nil {
		return err
	}
	_, err = statement.Verify([][]byte{b}, want, []schema.AcceptedKey{{Name: key.Name, Public: key.Public}}, 1)
	if err != nil {
		return fault.Refuse(fmt.Errorf("store: %s is not what it signed: %w", at, err),
			"the store was altered: find out by whom, remove the object and run again")
	}
	return nil
}
