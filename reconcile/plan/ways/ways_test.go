package ways

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// pemFor makes a certificate of an authority, and the PEM of a public key.
func pemFor(t *testing.T, name string) (certificate, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true,
		NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

func TestAWayToTheServerThatChangesForAllHostsAtOnceIsWarnedOf(t *testing.T) {
	oldCA, key := pemFor(t, "Old CA")
	newCA, _ := pemFor(t, "New CA")
	type side struct {
		url    string
		ca     []string
		change func(host string, c *schema.AgentConfig)
		rings  bool // web01 installs before the others
		held   bool // web02 is in no ring
	}
	build := func(s side) Side {
		out := Side{Policy: schema.Policy{Enabled: true, Rings: []schema.Ring{{Name: "all"}, {Name: "late"}},
			Sites: map[string]schema.Site{schema.CentralSite: {URL: s.url, Certificates: strings.Join(s.ca, "")}}},
			Resolved: &rules.Resolved{Hosts: map[string]*rules.Result{}}}
		if s.rings {
			out.Policy.Rings[1].Delay = schema.Duration(24 * time.Hour)
		}
		for _, host := range []string{"web01", "web02", "web03"} {
			c := schema.AgentConfig{Schema: 1, Package: "bakehouse-agent", Server: s.url, Certificates: s.ca,
				Interval: schema.Duration(time.Hour), Proxy: schema.Proxy{Mode: "none"}, Threshold: 1,
				Keys: []schema.AcceptedKey{{Name: "release", Public: key}}}
			if s.change != nil {
				s.change(host, &c)
			}
			b, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			updater := &fleet.Output{Plugin: fleet.UpdaterPlugin,
				Files: []fleet.File{{Path: schema.ConfigFile("linux"), Content: b}}}
			r := &rules.Result{Host: &fleet.Host{Name: host, Folder: &fleet.Folder{}}, Site: schema.CentralSite,
				Ring: "all", Selected: true, Recipe: &rules.Recipe{Outputs: []*fleet.Output{updater}}}
			if host != "web01" {
				r.Ring = "late"
			}
			if host == "web02" && s.held {
				r.Ring = ""
			}
			out.Resolved.Hosts[host] = r
		}
		// One that does not update itself has no way.
		out.Resolved.Hosts["db01"] = &rules.Result{Host: &fleet.Host{}, Recipe: &rules.Recipe{}}
		return out
	}
	proxy := func(url string) func(string, *schema.AgentConfig) {
		return func(_ string, c *schema.AgentConfig) { c.Proxy = schema.Proxy{Mode: "explicit", URL: url} }
	}
	proxied := proxy("http://p:3128")
	one := func(host string, c *schema.AgentConfig) {
		if host == "web01" {
			proxied(host, c)
		}
	}
	server := func(url string) func(string, *schema.AgentConfig) {
		return func(_ string, c *schema.AgentConfig) { c.Server, c.Fixed = url, true }
	}
	const all = "the way to the server changes for all of 3 hosts at once: "
	before := side{url: "https://old", ca: []string{oldCA}}
	for name, c := range map[string]struct {
		from *side // nil: before
		to   side
		want []string
	}{
		"nothing": {nil, before, nil},
		"the url": {nil, side{url: "https://new", ca: before.ca},
			[]string{"server: " + all + "https://old becomes https://new"}},
		"the url, with rings: policy has none": {nil, side{url: "https://new", ca: before.ca, rings: true},
			[]string{"server: " + all}},
		"a proxy": {nil, side{url: "https://old", ca: before.ca, change: proxied},
			[]string{"proxy: " + all + "none becomes http://p:3128"}},
		"a proxy for one host first": {nil, side{url: "https://old", ca: before.ca, change: one}, nil},
		"a proxy, ring by ring":      {nil, side{url: "https://old", ca: before.ca, change: proxied, rings: true}, nil},
		"a proxy, and a host gets no package": {nil,
			side{url: "https://old", ca: before.ca, change: proxied, held: true},
			[]string{"proxy: the way to the server changes for all of 2 hosts at once"}},
		"a proxy's password": {&side{url: "https://old", ca: before.ca, change: proxy("http://u:s3cret@p:3128")},
			side{url: "https://old", ca: before.ca, change: proxy("http://u:s3cret2@p:3128")},
			[]string{"proxy: " + all + "http://p:3128 becomes http://p:3128 with another user or password"}},
		"the server of a rule": {nil, side{url: "https://old", ca: before.ca, change: server("https://new")},
			[]string{"server: " + all}},
		"an authority beside the old one": {nil, side{url: "https://old", ca: []string{oldCA, newCA}}, nil},
		"the old one removed": {&side{url: "https://old", ca: []string{oldCA, newCA}},
			side{url: "https://old", ca: []string{newCA}}, []string{`"Old CA" (`}},
		"an authority in place of the old one": {nil, side{url: "https://old", ca: []string{newCA}},
			[]string{"certificates: " + all + `"Old CA" (`}},
		"to public authorities": {nil, side{url: "https://old"}, []string{"becomes public authorities"}},
		"from public authorities": {&side{url: "https://old"}, before, []string{"certificates: " + all +
			"public authorities becomes "}},
		"all of it": {nil, side{url: "https://new", ca: []string{newCA}, change: proxy("socks5://p:1080")},
			[]string{"server: ", "proxy: ", "certificates: "}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.from == nil {
				c.from = &before
			}
			got := Changed(build(*c.from), build(c.to))
			text := ""
			for _, p := range got {
				text += fmt.Sprintf("%s (%s)\n", p.Msg, p.Hint)
			}
			if len(got) != len(c.want) || strings.Contains(text, "s3cret") {
				t.Fatalf("got %s", text)
			}
			for i, w := range c.want {
				if !strings.Contains(got[i].Msg, w) || got[i].Hint == "" || got[i].Pos.File != "fleet.cue" {
					t.Errorf("%+v, want %q", got[i], w)
				}
			}
		})
	}
	if got := Changed(Side{}, build(before)); len(got) > 0 {
		t.Errorf("before there was anything: %v", got)
	}
}
