package roots

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"

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
