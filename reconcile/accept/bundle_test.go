package accept

import (
	"encoding/json"
	"testing"

	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

func TestBundlesAreOfKeysOfTheRepositoryWithOneSignatureEach(t *testing.T) {
	release, second, thief := trusttest.NewKey(), trusttest.NewKey(), trusttest.NewKey()
	s := schema.Statement{Name: "bakehouse-agent", Package: schema.DigestOf([]byte("package")),
		Manifest: schema.DigestOf([]byte("manifest")), Recipe: "0123456789abcdef",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb,
		Anchor: schema.DigestOf([]byte("anchor"))}
	other := s
	other.Package = schema.DigestOf([]byte("other"))
	signed := &Signatures{Statement: s, Envelopes: [][]byte{
		[]byte("junk"),
		trusttest.Statement(s, thief, second, release),
		trusttest.Statement(s, release),
		trusttest.Statement(other, second),
	}, keys: []schema.AcceptedKey{{Name: "second", Public: second.PEM()}, {Name: "release", Public: release.PEM()}}}
	bundles, err := signed.Bundles()
	if err != nil || len(bundles) != 2 || bundles[0].Key != "release" || bundles[1].Key != "second" {
		t.Fatalf("%+v, %v", bundles, err)
	}
	for i, k := range []trusttest.Key{release, second} {
		var b struct {
			MediaType    string
			Verification struct {
				PublicKey struct{ Hint string }
			} `json:"verificationMaterial"`
			DSSE json.RawMessage `json:"dsseEnvelope"`
		}
		if err := json.Unmarshal(bundles[i].JSON, &b); err != nil {
			t.Fatal(err)
		}
		if b.MediaType != "application/vnd.dev.sigstore.bundle.v0.3+json" || b.Verification.PublicKey.Hint != k.ID() {
			t.Errorf("%s", bundles[i].JSON)
		}
		var env map[string]any
		if err := json.Unmarshal(b.DSSE, &env); err != nil {
			t.Fatal(err)
		}
		signatures := env["signatures"].([]any)
		if len(signatures) != 1 || signatures[0].(map[string]any)["keyid"] != nil {
			t.Errorf("%s", b.DSSE)
		}
		one := &Signatures{Statement: s, Envelopes: [][]byte{b.DSSE}, keys: signed.keys}
		if again, err := one.Bundles(); err != nil || len(again) != 1 || again[0].Key != bundles[i].Key {
			t.Errorf("the envelope in the bundle of %s: %+v, %v", bundles[i].Key, again, err)
		}
	}
}
