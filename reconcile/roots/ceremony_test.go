package roots

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

	"bakehouse/agent/trust"
	"bakehouse/reconcile/keys"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// start is when the tests' roots are made.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// newCeremony is over an empty repo, with one key per role, named after it, at hand.
func newCeremony(t *testing.T) *Ceremony {
	t.Helper()
	year := 365 * 24 * time.Hour
	f := &fleet.Fleet{Name: "acme", Keys: map[string]*fleet.Key{}, Lifetimes: fleet.Lifetimes{Root: year}}
	signers, dir := map[string]keys.Signers{}, t.TempDir()
	for _, role := range roles {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, err := cryptoutils.MarshalPublicKeyToPEM(priv.Public())
		if err != nil {
			t.Fatal(err)
		}
		if signers[role], err = keys.LoadSigners(priv); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, keys.FileName(role))
		if err := os.WriteFile(path, []byte("decrypted already"), 0o600); err != nil {
			t.Fatal(err)
		}
		f.Keys[role] = &fleet.Key{Name: role, Public: string(public), Uses: []string{role}}
	}
	open := func(f *fleet.Fleet) *keys.Keyring {
		ring := keys.Open(f, dir, func(string, bool) ([]byte, error) {
			return nil, errors.New("asked for a passphrase")
		})
		ring.Now = func() time.Time { return start }
		for name, s := range signers {
			ring.Use(name, s)
		}
		return ring
	}
	return &Ceremony{Fleet: f, Repo: t.TempDir(), Now: start, Keys: open}
}

func TestARootPastHalfOfItsLifetimeIsRenewedWithoutBeingAsked(t *testing.T) {
	c := newCeremony(t)
	first, err := c.Init(8)
	if err != nil {
		t.Fatal(err)
	}
	c.Fleet.Roots = [][]byte{first.Newest().bytes}
	if _, _, err := c.Next(false, false); err == nil || !strings.Contains(fault.HintOf(err), "--renew") {
		t.Errorf("at once: %v", err)
	}
	c.Now = start.Add(200 * 24 * time.Hour)
	diff, made, err := c.Next(false, false)
	if err != nil || diff.Changed() || !made.Newest().md.Signed.Expires.Equal(start.Add(565*24*time.Hour)) ||
		made.Newest().Complete() {
		t.Errorf("past half: %+v, %v", diff, err)
	}
}

// signedField is a field of the signed part of a root's file, below bakehouse, as it is written.
func signedField(t *testing.T, file []byte, name string) string {
	t.Helper()
	var root struct {
		Signed struct {
			Bakehouse map[string]json.RawMessage `json:"bakehouse"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(file, &root); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, root.Signed.Bakehouse[name]); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b.String()
}

// A later version signs more in the root, and this one has to hand it on: see "Reserved" in ARCHITECTURE.md.
func TestWhatALaterVersionSaysInTheRootIsKept(t *testing.T) {
	const log = `{"keys":["a+b/c=","é"],"none":null,"of":{"deep":[{"x":[]}],"yes":true},` +
		`"size":9007199254740991,"url":"https://log"}`
	c := newCeremony(t)
	first, err := c.Init(8)
	if err != nil {
		t.Fatal(err)
	}
	later := first.Newest().md
	var value any
	if err := json.Unmarshal([]byte(log), &value); err != nil {
		t.Fatal(err)
	}
	later.Signed.UnrecognizedFields["bakehouse"].(map[string]any)["log"] = value
	later.Signed.UnrecognizedFields["novelty"] = "x"
	later.ClearSignatures()
	unsigned, err := c.with(later, 1)
	if err != nil {
		t.Fatal(err)
	}
	one, by, err := unsigned.sign(c.Fleet, c.Keys(c.Fleet), "", "")
	if err != nil || len(by) != 1 {
		t.Fatalf("signed by %v, %v", by, err)
	}
	c.Fleet.Roots, c.Now = [][]byte{one}, start.Add(200*24*time.Hour)
	_, next, err := c.Next(false, false)
	if err != nil {
		t.Fatal(err)
	}
	c.Fleet.Roots = append(c.Fleet.Roots, next.Newest().bytes)
	_, signed, err := c.Sign("", "")
	if err != nil {
		t.Fatal(err)
	}
	two := signed.Newest().bytes
	c.Fleet.Roots = [][]byte{one, two}
	for what, file := range map[string][]byte{"root sign": one, "root next": next.Newest().bytes, "and sign": two} {
		if got := signedField(t, file, "log"); got != log {
			t.Errorf("%s: log is %s", what, got)
		}
		if !bytes.Contains(file, []byte(`"novelty": "x"`)) {
			t.Errorf("%s: another field is lost", what)
		}
	}
	root, err := Verify(c.Fleet)
	if err != nil {
		t.Fatal(err)
	}
	info, ok := trust.Info(root)
	if !ok || info != (trust.RootInfo{Fleet: "acme", Bins: 8}) || root.Signed.Version != 2 {
		t.Errorf("%+v", info)
	}
	if namesIn(root)[root.Signed.Roles["root"].KeyIDs[0]] != "root" {
		t.Errorf("names %v", namesIn(root))
	}
}

func TestKeysOfALogAreInNoRoleOfTheRoot(t *testing.T) {
	c := newCeremony(t)
	for use, with := range map[string]string{fleet.UseLog: "snapshot", fleet.UseWitness: "timestamp"} {
		k := c.Fleet.Keys[with]
		k.Uses = []string{use}
		if _, err := New(c.Fleet, 1, 8, start); err == nil || !strings.Contains(err.Error(), "the use "+with) {
			t.Errorf("a key for %s signs %s: %v", use, with, err)
		}
		k.Uses = []string{with}
	}
	c.Fleet.Keys["targets"].Uses = []string{fleet.UseTargets, fleet.UseLog, fleet.UseWitness}
	root, err := New(c.Fleet, 1, 8, start)
	if err != nil || len(root.Signed.Roles) != 4 || len(root.Signed.Roles["targets"].KeyIDs) != 1 {
		t.Errorf("%v, %v", root, err)
	}
}
