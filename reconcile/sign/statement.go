package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/serve/store"
)

// Statement signs that the package of m is ours, once with each of the named keys. An envelope that is there already is
// left as it is if it verifies; if not, somebody altered the store.
func Statement(ctx context.Context, st store.Store, keys *Keyring, names []string, m *schema.Manifest, manifest schema.Digest) error {
	want := schema.StatementFor(m, manifest)
	payload, err := json.Marshal(want)
	if err != nil {
		return err
	}
	for _, name := range names {
		signer, err := keys.Signer(name)
		if err != nil {
			return err
		}
		id, err := keyID(keys.keys[name])
		if err != nil {
			return err
		}
		sig, err := signer.SignMessage(bytes.NewReader(trust.PAE(schema.StatementType, payload)))
		if err != nil {
			return fmt.Errorf("sign package %s with key %s: %w", want.Package.Short(), name, err)
		}
		env, err := json.Marshal(trust.Envelope{PayloadType: schema.StatementType, Payload: base64.StdEncoding.EncodeToString(payload),
			Signatures: []trust.EnvelopeSignature{{KeyID: id, Sig: base64.StdEncoding.EncodeToString(sig)}}})
		if err != nil {
			return err
		}
		key := schema.StatementKey(want.Package, id)
		err = st.Create(ctx, key, bytes.NewReader(env))
		if errors.Is(err, fs.ErrExist) {
			err = checkStatement(ctx, st, key, want, keys.keys[name].Name, keys.keys[name].Public)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func checkStatement(ctx context.Context, st store.Store, key string, want schema.Statement, name, public string) error {
	b, err := store.Read(ctx, st, key, schema.MaxStatement)
	if err != nil {
		return err
	}
	_, err = trust.VerifyStatements([][]byte{b}, want, []schema.AcceptedKey{{Name: name, Public: public}}, 1)
	if err != nil {
		return schema.Refuse(fmt.Errorf("store: %s is not what key %s signed: %w", key, name, err),
			"the store was altered: find out by whom, remove the object and run again")
	}
	return nil
}
