package agent

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
)

func TestStatusTellsTheStateOfTheKeysThatTheHostAccepts(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	second := trusttest.NewKey()
	for name, c := range map[string]struct {
		bake    func(c *schema.AgentConfig)
		want    string // name state, in order
		problem string
	}{
		"keys without an end": {func(*schema.AgentConfig) {}, "release valid, second valid", ""},
		"within 90 days":      {func(c *schema.AgentConfig) { c.Keys[1].Expires = f.Now().Add(90 * day) }, "release valid, second expiring", ""},
		"within 30 days":      {func(c *schema.AgentConfig) { c.Keys[1].Expires = f.Now().Add(30 * day) }, "release valid, second critical", ""},
		"within days that the fleet sets": {func(c *schema.AgentConfig) {
			c.Keys[1].Expires = f.Now().Add(30 * day)
			c.KeyExpiry = &schema.KeyExpiry{Warn: schema.Duration(40 * day), Critical: schema.Duration(day)}
		}, "release valid, second expiring", ""},
		"one expired": {func(c *schema.AgentConfig) { c.Keys[1].Expires = f.Now() }, "release valid, second expired", ""},
		"none valid": {func(c *schema.AgentConfig) { c.Keys[0].Expires, c.Keys[1].Expires = f.Now(), f.Now() }, "release expired, second expired",
			"of the 2 signature keys that this host accepts, 0 are valid, but a new package needs 1"},
		"fewer than it takes": {func(c *schema.AgentConfig) { c.Keys[0].Expires, c.Threshold = f.Now(), 2 }, "release expired, second valid",
			"of the 2 signature keys that this host accepts, 1 are valid, but a new package needs 2"},
		"one corrupt": {func(c *schema.AgentConfig) {
			c.Keys[1].Public = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"
		}, "release valid, second corrupt",
			`signature key "second"`},
	} {
		t.Run(name, func(t *testing.T) {
			h := registered(t, f, "web01")
			h.bake(f, func(b *schema.AgentConfig) {
				b.Keys = append(b.Keys, schema.AcceptedKey{Name: "second", Public: second.PEM()})
				c.bake(b)
			})
			s := h.status()
			var got []string
			var text strings.Builder
			for _, k := range s.Keys {
				got = append(got, k.Name+" "+k.State)
			}
			if err := s.Print(&text); err != nil {
				t.Fatal(err)
			}
			if all := strings.Join(got, ", "); all != c.want {
				t.Errorf("keys: %s, want %s", all, c.want)
			}
			for _, k := range s.Keys {
				if !strings.Contains(text.String(), fmt.Sprintf("%s: %s", k.Name, k.State)) {
					t.Errorf("%s is not in\n%s", k.Name, &text)
				}
			}
			if !strings.Contains(s.Problem, c.problem) || (c.problem == "") != (s.Problem == "") || (s.Problem == "") != (s.Hint == "") {
				t.Errorf("problem %q, hint %q; want %q", s.Problem, s.Hint, c.problem)
			}
			b, err := json.Marshal(s)
			if err != nil || !strings.Contains(string(b), `"keys":[{"name":"release","state":"`) {
				t.Errorf("%s, %v", b, err)
			}
		})
	}
}

func TestAHostInstallsWhatAnExpiredKeyHasSigned(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	h.bake(f, func(c *schema.AgentConfig) { c.Keys[0].Expires = f.Now().Add(-day) })
	f.Give("web01", version(f, "2.0"))
	if r := h.update(); r.State != schema.StateCurrent {
		t.Errorf("update ended %s", r)
	}
	h.runs("2.0")
}

func TestAHostInstallsWhatAnAcceptedKeyOfAnyTypeHasSigned(t *testing.T) {
	t.Parallel()
	for name, generate := range map[string]func() (crypto.Signer, error){
		"ECDSA P-256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
		"RSA":         func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	} {
		t.Run(name, func(t *testing.T) {
			priv, err := generate()
			if err != nil {
				t.Fatal(err)
			}
			f := testfleet.New(t)
			key := trusttest.KeyOf(priv)
			h := registered(t, f, "web01")
			h.bake(f, func(c *schema.AgentConfig) { c.Keys = []schema.AcceptedKey{{Name: "other", Public: key.PEM()}} })
			p := version(f, "2.0")
			f.Give("web01", p)
			h.refused("No valid signature found")
			p = version(f, "2.1")
			p.Signers = []trusttest.Key{key}
			f.Give("web01", p)
			h.update()
			h.runs("2.1")
		})
	}
}
