package publish

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"testing"

	"bakehouse/agent/trust/statement"

	"bakehouse/schema"
)

// signerTypes makes a pair of every type that is accepted.
var signerTypes = map[string]func() (crypto.Signer, error){
	"ed25519": func() (crypto.Signer, error) {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		return priv, err
	},
	"ecdsa-p256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"rsa":        func() (crypto.Signer, error) { return rsa.GenerateKey(nil, 2048) }, // quicker than 3072
}

func TestKeysOfEveryTypeSignEveryRoleAndPackagesForAHost(t *testing.T) {
	for name, generate := range signerTypes {
		t.Run(name, func(t *testing.T) {
			f, st := newFleet(t), openStore(t)
			for _, use := range testUses {
				priv, err := generate()
				if err != nil {
					t.Fatal(err)
				}
				f.takeKey(use, priv, use)
			}
			f.keys = f.ring()
			f.remakeRoot()
			f.mustPublish(st, next(start, want("web01", "package")))
			dir := t.TempDir()
			f.host(st, dir, start).mustGet(t, "web01", "package")
			f.mustPublish(st, next(start.Add(day), want("web01", "second")))
			f.host(st, dir, start.Add(day)).mustGet(t, "web01", "second")

			m, d := testManifest(schema.DigestOf(f.Anchor()))
			if err := Statement(t.Context(), st, f.keys, []string{"package"}, m, d); err != nil {
				t.Fatal(err)
			}
			accepted := []schema.AcceptedKey{{Name: "package", Public: f.Keys["package"].Public}}
			by, err := statement.Verify(envelopes(t, st, d), schema.StatementFor(m, d), accepted, 1)
			if err != nil || !slices.Equal(by, []string{"package"}) {
				t.Errorf("signed by %q: %v", by, err)
			}
		})
	}
}
