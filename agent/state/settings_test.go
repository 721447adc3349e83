package state

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func TestWhichSourceOfASettingCounts(t *testing.T) {
	baked := func(change func(*schema.AgentConfig)) *schema.AgentConfig {
		c := &schema.AgentConfig{Fleet: "acme", Server: "https://baked", Interval: schema.Duration(time.Minute), Threshold: 2}
		if change != nil {
			change(c)
		}
		return c
	}
	registered := &Registration{Server: "https://registered", Host: "web01", Secret: "s3cret",
		Certificates: []string{"theirs"}}
	type want struct{ name, value, from string }
	const unreadable = "unreadable: no certificate found: want PEM"
	for name, c := range map[string]struct {
		config *schema.AgentConfig
		record Record
		want   []want
	}{
		"a host that knows nothing has defaults": {nil, Record{}, []want{
			{"server", "-", FromNone}, {"interval", "1h0m0s", FromDefault}, {"proxy", "environment", FromDefault},
			{"threshold", "1", FromDefault}, {"fixed server", "false", FromDefault}, {"fleet", "-", FromNone},
			{"certificates", "the public authorities", FromDefault}, {"anchor", "-", FromNone}}},
		"registration is all that a host without a package has": {nil, Record{Registration: registered}, []want{
			{"server", "https://registered", FromState}, {"host", "web01", FromState},
			{"host secret", "set (hidden)", FromState}}},
		"a package that was never registered brings its server": {baked(nil), Record{}, []want{
			{"server", "https://baked", FromConfig}, {"host", "-", FromNone}, {"interval", "1m0s", FromConfig},
			{"proxy", "none", FromConfig}, {"threshold", "2", FromConfig}, {"fixed server", "false", FromConfig}}},
		"the registered server is what is left if the baked one does not answer": {baked(nil),
			Record{Registration: registered}, []want{
				{"server", "https://baked, then https://registered", "config, state"}, {"fleet", "acme", FromConfig}}},
		"signed policy is stronger than what is baked": {baked(nil),
			Record{Registration: registered, Site: &Site{URL: "https://signed"}}, []want{
				{"server", "https://signed, then https://baked, then https://registered", "policy, config, state"},
				{"certificates", unreadable, FromState}}},
		"signed policy is enough for a host without a package": {nil,
			Record{Registration: registered, Site: &Site{URL: "https://signed", Certificates: []string{"signed"}}},
			[]want{{"server", "https://signed, then https://registered", "policy, state"},
				{"certificates", unreadable + "; " + unreadable, "policy, state"}}},
		"the last way is shown, and is no setting of others": {baked(nil), Record{Registration: registered,
			Worked: &Way{Server: "https://old", Proxy: schema.Proxy{Mode: "explicit", URL: "http://u:p@proxy:3128"}}},
			[]want{{"server", "https://baked, then https://registered", "config, state"}, {"last way that worked",
				"https://old, proxy http://hidden@proxy:3128, vouched for by the public authorities", FromState}}},
		"a fixed server is the only one": {baked(func(c *schema.AgentConfig) { c.Fixed = true }),
			Record{Registration: registered, Site: &Site{URL: "https://signed"}}, []want{
				{"server", "https://baked", FromConfig}, {"fixed server", "true", FromConfig}}},
		"the same server twice is one": {baked(func(c *schema.AgentConfig) { c.Server = registered.Server }),
			Record{Registration: registered}, []want{{"server", "https://registered", "config, state"}}},
		"baked keys and anchor beat those of registration": {
			baked(func(c *schema.AgentConfig) { c.Keys = []schema.AcceptedKey{{Name: "baked"}} }),
			Record{Bootstrap: &Bootstrap{Anchor: []byte("{}"), Keys: []schema.AcceptedKey{{Name: "registered"}}}},
			[]want{{"accepted keys", "baked (unreadable)", FromConfig}, {"anchor", "root 7", FromConfig}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Host{Record: &c.record, Config: c.config}
			if c.config != nil {
				h.Anchor = []byte(`{"signed":{"version":7}}`)
			}
			rows := map[string]Setting{}
			for _, s := range h.Settings() {
				if rows[s.Name] != (Setting{}) {
					t.Errorf("%s is in the table twice", s.Name)
				}
				rows[s.Name] = s
			}
			for _, w := range c.want {
				got := rows[w.name]
				if w.name == "anchor" && len(got.Value) > len(w.value) {
					got.Value = got.Value[:len(w.value)]
				}
				if got.Value != w.value || got.From != w.from {
					t.Errorf("%s: %q from %s, want %q from %s", w.name, got.Value, got.From, w.value, w.from)
				}
			}
		})
	}
}

func TestCertificatesCountFromBothSources(t *testing.T) {
	config := &schema.AgentConfig{Certificates: make([]string, 1, 8)}
	config.Certificates[0] = "baked"
	h := &Host{Config: config, Record: &Record{Registration: &Registration{Certificates: []string{"registered"}}}}
	if got := h.Certificates(); !reflect.DeepEqual(got, []string{"baked", "registered"}) {
		t.Errorf("certificates %q", got)
	}
	if spare := config.Certificates[:2][1]; spare != "" {
		t.Errorf("the baked list was written to: %q", spare)
	}
}

func TestNothingIsVerifiedWithoutAnAnchorOrWithABrokenPackage(t *testing.T) {
	h := &Host{Record: &Record{}}
	if _, _, _, err := h.Trusted(); err == nil || fault.HintOf(err) == "" {
		t.Errorf("without an anchor: %v", err)
	}
	h.Bootstrap = &Bootstrap{Anchor: []byte("{}"), Keys: []schema.AcceptedKey{{Name: "release"}}}
	if anchor, keys, needed, err := h.Trusted(); err != nil || string(anchor) != "{}" || len(keys) != 1 || needed != 1 {
		t.Errorf("from registration: %s, %v, %d, %v", anchor, keys, needed, err)
	}
	h.Problem = errors.New("baked files are broken")
	if _, _, _, err := h.Trusted(); !errors.Is(err, h.Problem) {
		t.Errorf("a broken package falls back to registration: %v", err)
	}
}

func TestWhoVouchesForWhichServer(t *testing.T) {
	made := func() string { return authority(t) }
	centre, site, rule, theirs := made(), made(), made(), made()
	of := func(url string, certs ...string) *Server { return &Server{URL: url, Certificates: certs} }
	for name, c := range map[string]struct {
		baked    []string
		site     Site
		register []string
		want     []Way
	}{
		"an authority each": {[]string{centre}, Site{URL: "https://site", Certificates: []string{site},
			Central: of("https://centre", centre)}, nil,
			[]Way{{Server: "https://site", Certificates: []string{site}},
				{Server: "https://centre", Certificates: []string{centre}}}},
		"a site of the public ones": {[]string{centre}, Site{URL: "https://site",
			Central: of("https://centre", centre)},
			[]string{theirs},
			[]Way{{Server: "https://site"}, {Server: "https://centre", Certificates: []string{centre}},
				{Server: "https://registered", Certificates: []string{centre}},
				{Server: "https://registered", Certificates: []string{theirs}}}},
		"a centre of the public ones": {nil, Site{URL: "https://site", Certificates: []string{site},
			Central: of("https://centre")}, nil,
			[]Way{{Server: "https://site", Certificates: []string{site}}, {Server: "https://centre"}}},
		"what a rule adds counts for all": {[]string{centre, rule}, Site{URL: "https://site",
			Certificates: []string{site}, Central: of("https://centre", centre)}, nil,
			[]Way{{Server: "https://site", Certificates: []string{site, rule}},
				{Server: "https://centre", Certificates: []string{centre, rule}}}},
	} {
		t.Run(name, func(t *testing.T) {
			server := "https://centre"
			if c.register != nil {
				server = "https://registered"
			}
			h := &Host{Config: &schema.AgentConfig{Server: "https://centre", Certificates: c.baked}, Record: &Record{
				Site: &c.site, Registration: &Registration{Server: server, Certificates: c.register}}}
			got := h.Ways()
			if !slices.EqualFunc(got, c.want, Way.Equal) {
				for _, w := range got {
					t.Errorf("%s: %d of them", w.Server, len(w.Certificates))
				}
			}
		})
	}
}

// authority is a certificate, as PEM.
func authority(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return PEM([]*x509.Certificate{{Raw: der}})
}
