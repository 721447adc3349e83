package schema

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

func TestAnAssignmentThatMakesNoSenseIsRefused(t *testing.T) {
	for name, change := range map[string]func(a *Assignment){
		"a host that is a path":           func(a *Assignment) { a.Host = "../x" },
		"no digest":                       func(a *Assignment) { a.SHA256 = Digest{} },
		"no manifest":                     func(a *Assignment) { a.Manifest = Digest{} },
		"a recipe that is no hash":        func(a *Assignment) { a.Recipe = "x" },
		"length 0":                        func(a *Assignment) { a.Length = 0 },
		"a length over the limit":         func(a *Assignment) { a.Length = MaxPackage + 1 },
		"release 0":                       func(a *Assignment) { a.Older = nil; a.Release = 0 },
		"a negative release":              func(a *Assignment) { a.Older = nil; a.Release = -1 },
		"no since":                        func(a *Assignment) { a.Since = time.Time{} },
		"too many older candidates":       func(a *Assignment) { a.Older = append(a.Older, a.Older[0], a.Older[0]) },
		"an older candidate that is not":  func(a *Assignment) { a.Older[0].Release = a.Release },
		"older candidates out of order":   func(a *Assignment) { a.Older = append(a.Older, a.Older[0]); a.Older[1].Release = 6 },
		"an incomplete older candidate":   func(a *Assignment) { a.Older[0].Manifest = Digest{} },
		"an older candidate of length -1": func(a *Assignment) { a.Older[0].Length = -1 },
	} {
		_, a := rollout()
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		if change(a); a.Validate() == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

func TestCandidatesComeNewestFirstAndAreCopies(t *testing.T) {
	_, a := rollout()
	all := a.Candidates()
	if len(all) != 2 || all[0].SHA256 != newer || all[0].Release != 7 || all[1].SHA256 != older {
		t.Errorf("%+v", all)
	}
	all[1].SHA256 = foreign
	if a.Older[0].SHA256 != older {
		t.Error("changing the list changed the assignment")
	}
}

// Custom data are the larger part of a bin: what is empty takes no room.
func TestTheCustomDataOfAPlainHostStaySmall(t *testing.T) {
	b, err := json.Marshal(Target{Manifest: newer, Recipe: "0123456789abcdef", Ring: "all", Selected: true, Release: 7, Since: start})
	want := `{"manifest":"` + newer.String() + `","recipe":"0123456789abcdef","release":7,` +
		`"ring":"all","selected":true,"since":"2026-03-01T12:00:00Z"}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

func TestServerURLs(t *testing.T) {
	for _, s := range []string{"https://bakehouse.example:8443", "http://127.0.0.1:1", "https://bakehouse.example/site", "https://[::1]:8443"} {
		if err := CheckServerURL(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "bakehouse.example", "bakehouse.example:8443", "https://", "https://:8443", "ftp://h", "https://u:p@h", "https://h?a", "https://h#a",
		"https://h\n", "file:///etc"} {
		if CheckServerURL(s) == nil {
			t.Errorf("accepted: %q", s)
		}
	}
}

func TestBakedSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	sound := func() *AgentConfig {
		return &AgentConfig{Schema: AgentConfigSchema, Fleet: "f", Package: "bakehouse-agent", Version: "1.0.0", Server: "https://b.example",
			Interval: Duration(time.Hour), Proxy: Proxy{Mode: "explicit", URL: "http://u:geheim@proxy:3128"},
			Keys: []AcceptedKey{{Name: "a", Public: key}, {Name: "b", Public: key}}, Threshold: 2}
	}
	b, err := json.Marshal(sound())
	if err != nil {
		t.Fatal(err)
	}
	if c, err := DecodeAgentConfig(b); err != nil || c.Threshold != 2 || c.Interval != Duration(time.Hour) {
		t.Errorf("%+v, %v", c, err)
	}
	for name, change := range map[string]func(c *AgentConfig){
		"another schema":                func(c *AgentConfig) { c.Schema = 2 },
		"a package name that is a path": func(c *AgentConfig) { c.Package = "a/b" },
		"no keys":                       func(c *AgentConfig) { c.Keys = nil },
		"threshold 0":                   func(c *AgentConfig) { c.Threshold = 0 },
		"more signatures than keys":     func(c *AgentConfig) { c.Threshold = 3 },
		"an interval of no time":        func(c *AgentConfig) { c.Interval = 0 },
		"no server":                     func(c *AgentConfig) { c.Server = "" },
		"a port that there is not":      func(c *AgentConfig) { c.Server = "https://b.example:70000" },
		"four numbers, but no address":  func(c *AgentConfig) { c.Server = "https://10.1.0.300" },
		"a name with a space":           func(c *AgentConfig) { c.Server = "https://b%20c" },
		"a certificate that is none":    func(c *AgentConfig) { c.Certificates = []string{"ca.pem"} },
		"a certificate cut off": func(c *AgentConfig) {
			c.Certificates = []string{"-----BEGIN CERTIFICATE-----\nMIIB\n"}
		},
		"a key that is none":           func(c *AgentConfig) { c.Keys[1].Public = "PEM" },
		"a proxy without a scheme":     func(c *AgentConfig) { c.Proxy.URL = "u:geheim@proxy:3128" },
		"a password that splits a URL": func(c *AgentConfig) { c.Proxy.URL = "http://u:geheim/x@proxy:3128" },
		"a proxy at no port":           func(c *AgentConfig) { c.Proxy.URL = "http://u:geheim@proxy:0" },
		"no way to the server":         func(c *AgentConfig) { c.Proxy.Mode = "socks" },
	} {
		c := sound()
		change(c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeAgentConfig(b)
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the error prints the password: %v", name, err)
		}
		if err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
