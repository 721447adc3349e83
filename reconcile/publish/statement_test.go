package publish

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/trust/statement"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

func testManifest(anchor schema.Digest) (*schema.Manifest, schema.Digest) {
	m := &schema.Manifest{Schema: schema.ManifestSchema, Bake: 1, Name: "bakehouse-agent", Version: "1",
		Recipe:   "0123456789abcdef",
		Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb, Anchor: anchor, Size: 7,
		SHA256: schema.DigestOf([]byte("package")),
		Parts:  []schema.Part{{Data: []byte("package")}}}
	_, d, err := m.Encode()
	if err != nil {
		panic(err)
	}
	return m, d
}

func envelopes(t *testing.T, st store.Store, manifest schema.Digest) [][]byte {
	t.Helper()
	var envs [][]byte
	for e, err := range st.List(t.Context(), schema.StatementsPrefix(manifest), "") {
		if err != nil {
			t.Fatal(err)
		}
		b, err := store.Read(t.Context(), st, e.Key, schema.MaxStatement)
		if err != nil {
			t.Fatal(err)
		}
		envs = append(envs, b)
	}
	return envs
}

// A program with a new bake version makes most packages as before, and a manifest that says so.
func TestAPackageThatAnotherBakeVersionMakesAlikeIsSignedAgain(t *testing.T) {
	f, st := newFleet(t), memStore{}
	m, d := testManifest(schema.DigestOf(f.Anchor()))
	next := *m
	next.Bake++
	_, nd, err := next.Encode()
	if err != nil || nd == d {
		t.Fatalf("%s after %s: %v", nd, d, err)
	}
	keys := []schema.AcceptedKey{{Name: "package", Public: f.Keys["package"].Public}}
	for manifest, m := range map[schema.Digest]*schema.Manifest{d: m, nd: &next} {
		if err := Statement(t.Context(), st, f.keys, []string{"package"}, m, manifest); err != nil {
			t.Fatal(err)
		}
		want := schema.StatementFor(m, manifest)
		if _, err := statement.Verify(envelopes(t, st, manifest), want, keys, 1); err != nil {
			t.Errorf("bake version %d: %v", m.Bake, err)
		}
	}
}

func TestStatementsAreOnlyEverAdded(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.addKey("second", "package")
	f.keys = f.ring()
	m, d := testManifest(schema.DigestOf(f.Anchor()))
	keys := []schema.AcceptedKey{{Name: "package", Public: f.Keys["package"].Public},
		{Name: "second", Public: f.Keys["second"].Public}}

	for _, names := range [][]string{{"package"}, {"package"}, {"package", "second"}} {
		if err := Statement(t.Context(), st, f.keys, names, m, d); err != nil {
			t.Fatal(err)
		}
		envs := envelopes(t, st, d)
		if len(envs) != len(slices.Compact(names)) {
			t.Errorf("signed by %q: %d envelopes", names, len(envs))
		}
		got, err := statement.Verify(envs, schema.StatementFor(m, d), keys, len(names))
		slices.Sort(got)
		if err != nil || !slices.Equal(got, names) {
			t.Errorf("signed by %q, accepted %q: %v", names, got, err)
		}
	}
	if err := Statement(t.Context(), st, f.keys, []string{"nobody"}, m, d); err == nil || fault.HintOf(err) == "" {
		t.Errorf("an unknown key: %v", err)
	}
}

func TestAlteredStatementInTheStoreIsRefused(t *testing.T) {
	f, st := newFleet(t), memStore{}
	m, d := testManifest(schema.DigestOf(f.Anchor()))
	if err := Statement(t.Context(), st, f.keys, []string{"package"}, m, d); err != nil {
		t.Fatal(err)
	}
	for key, b := range st {
		var env statement.Envelope
		if err := json.Unmarshal(b, &env); err != nil {
			t.Fatal(err)
		}
		env.Signatures[0].Sig = base64.StdEncoding.EncodeToString(make([]byte, 64))
		b, err := json.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		st[key] = b
	}
	err := Statement(t.Context(), st, f.keys, []string{"package"}, m, d)
	if !fault.IsRefusal(err) || !strings.Contains(err.Error(), "No valid signature found") {
		t.Errorf("got %v", err)
	}
}
