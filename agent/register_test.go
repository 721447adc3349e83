package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

func TestRegisterSaysWhatIsWrong(t *testing.T) {
	f := testfleet.New(t)
	f.Add("web01", "forbidden01")
	closed := httptest.NewTLSServer(nil)
	closed.Close()
	for name, test := range map[string]struct {
		change func(*RegisterOptions)
		want   string
		hint   string
	}{
		"wrong password": {func(o *RegisterOptions) { o.Password = func() (string, error) { return "wrong", nil } },
			"the server refuses user ops: wrong user or password", "access.cue"},
		"empty password": {func(o *RegisterOptions) { o.Password = func() (string, error) { return "", nil } },
			"the password is empty", "--password-file"},
		"unknown host": {func(o *RegisterOptions) { o.Host = "web99" }, "the server does not know the host web99",
			"--host"},
		"malformed host": {func(o *RegisterOptions) { o.Host = "../web01" }, "host name", ""},
		"forbidden host": {func(o *RegisterOptions) { o.Host = "forbidden01" }, "user ops may not register host forbidden01",
			"permission register"},
		"unreachable": {func(o *RegisterOptions) { o.Server = closed.URL }, "server " + closed.URL + ": ",
			"check that the server runs"},
		"not TLS": {func(o *RegisterOptions) { o.Server = withoutTLS(t) }, "does not speak TLS", "check the port"},
		"unknown CA": {func(o *RegisterOptions) { o.CA = file(t, authority(t, "Other CA")) },
			"signed by an unknown authority", "--ca FILE"},
		"public CAs are not asked once one is given, so none here": {func(o *RegisterOptions) { o.CA = "" },
			"signed by an unknown authority", "--ca FILE"},
		"wrong name": {func(o *RegisterOptions) { o.Server = strings.Replace(f.URL, "127.0.0.1", "localhost", 1) },
			`is not for "localhost" but for example.com`, "use one of those names"},
		"no such CA file": {func(o *RegisterOptions) { o.CA = "/nonexistent/ca.pem" },
			"/nonexistent/ca.pem: no such file", "set --ca to"},
		"CA file of others": {func(o *RegisterOptions) { o.CA = file(t, []byte("hello")) }, "no certificate found",
			"set --ca to"},
		"key file as CA": {func(o *RegisterOptions) { o.CA = file(t, []byte(f.Package.PEM())) }, "want CERTIFICATE",
			"set --ca to"},
		"anchor of nothing": {func(o *RegisterOptions) { o.Anchor = file(t, []byte("{}")) }, "anchor root",
			"use its trust/1.root.json"},
		"no such anchor file": {func(o *RegisterOptions) { o.Anchor = "/nonexistent/root.json" }, "root.json: no such file",
			"set --anchor to"},
		"http for https": {func(o *RegisterOptions) { o.Server = strings.Replace(f.URL, "https:", "http:", 1) },
			"400 Bad Request", "starts with https://"},
		"anchor without key": {func(o *RegisterOptions) { o.Keys = nil }, "only one of --anchor and --key", "--key"},
		"private key": {func(o *RegisterOptions) {
			o.Keys = []string{file(t, []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))}
		},
			"holds a private key", "public half"},
		"no user":    {func(o *RegisterOptions) { o.User = "" }, "no user given", "--user"},
		"no server":  {func(o *RegisterOptions) { o.Server = "" }, "no server is set", "--server"},
		"odd server": {func(o *RegisterOptions) { o.Server = "ftp://x" }, "is not a URL such as", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, f)
			o := options(t, f, "web01")
			test.change(&o)
			_, err := h.Register(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(fault.HintOf(err), test.hint) {
				t.Errorf("error %q, hint %q", err, fault.HintOf(err))
			}
			if err != nil && (strings.Contains(err.Error()+fault.HintOf(err), "wrong\"") ||
				strings.Contains(err.Error(), testfleet.Password)) {
				t.Errorf("the error repeats the password: %q", err)
			}
			if h.stateOf().Registration != nil {
				t.Error("the host is registered")
			}
		})
	}
}

// withoutTLS is the https URL of a server without TLS.
func withoutTLS(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "http:", "https:", 1)
}

func authority(t *testing.T, name string) []byte {
	c, _ := certificate(t, name, time.Now().Add(time.Hour))
	return c
}

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T, name string, until time.Time) ([]byte, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAnExpiredCertificateIsNamed(t *testing.T) {
	ca, cert := certificate(t, "bakehouse.example", time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC))
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.Config.ErrorLog = testfleet.Discard
	s.StartTLS()
	defer s.Close()
	f := testfleet.New(t)
	h := newHost(t, f)
	o := options(t, f, "web01")
	o.Server, o.CA = s.URL, file(t, ca)
	_, err := h.Register(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(),
		`its certificate "bakehouse.example" (issued by "bakehouse.example", valid until 2025-01-02) has expired`) {
		t.Errorf("error %v", err)
	}
}

func TestASecondRegistrationNeedsForce(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	first := h.stateOf().Registration.Secret
	o := options(t, f, "web01")
	asked := false
	o.Password = func() (string, error) { asked = true; return testfleet.Password, nil }
	if _, err := h.Register(t.Context(), o); err == nil ||
		!strings.Contains(err.Error(), "already registered, as web01 at "+f.URL) ||
		!strings.Contains(fault.HintOf(err), "--force") || asked {
		t.Errorf("error %v, hint %q, password asked for: %v", err, fault.HintOf(err), asked)
	}
	o.Force = true
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if h.stateOf().Registration.Secret == first {
		t.Error("the secret is the old one")
	}
}

func TestDeletingTheRegistrationLeavesWhatIsInstalled(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	if _, _, err := h.Unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Unregister(t.Context()); err == nil {
		t.Error("deleted twice")
	}
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil ||
		!strings.Contains(fault.HintOf(err), "bakehouse-agent register") {
		t.Errorf("update: %v", err)
	}
	h.runs("one")
	if s := h.stateOf(); s.Registration != nil || s.Installed == nil {
		t.Errorf("state %+v", s)
	}
	if _, err := h.Register(t.Context(), options(t, f, "web01")); err != nil {
		t.Fatal(err)
	}
	if r := h.update(); r.Code != schema.CodeCurrent {
		t.Errorf("after registering again: %s", r)
	}
}

// A power cut can leave the state empty. Who the host is does not change, and has a copy that no update writes.
func TestADamagedStateHealsWithoutAHuman(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	for name, text := range map[string]string{"empty": "", "cut": `{"schema":1,"registr`, "zeros": "\x00\x00\x00"} {
		if err := os.WriteFile(h.files.Stored(state.RecordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f.Give("web01", version(f, name))
		if r := h.update(); r.Code != outcome.CodeInstalled {
			t.Errorf("%s: %s", name, r)
		}
		h.runs(name)
		if s := h.stateOf(); s.Registration == nil || s.Installed == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	if err := os.Remove(h.files.Stored(state.RecordFile)); err != nil {
		t.Fatal(err)
	}
	h.update()
	// What was given up stays given up.
	if _, _, err := h.Unregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.files.Stored(state.RecordFile)); err != nil {
		t.Fatal(err)
	}
	if r, err := h.files.Record(); err != nil || r.Registration != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestADamagedStateIsSaidAndMendedByForce(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	if err := os.Remove(h.files.Stored(state.IdentityFile)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"empty": "", "cut": `{"schema":1,"registr`, "zeros": "\x00\x00\x00",
		"of the future": `{"schema":99}`} {
		if err := os.WriteFile(h.files.Stored(state.RecordFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := h.Update(t.Context(), UpdateOptions{})
		if err == nil || !strings.Contains(err.Error(), "is damaged") || !strings.Contains(fault.HintOf(err), "--force") {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
	o := options(t, f, "web01")
	o.Force = true
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("one")
}

// bake puts a package's settings onto a host as an installation by hand does.
func (h *host) bake(f *testfleet.Fleet, change func(*schema.AgentConfig)) {
	h.t.Helper()
	for name, b := range map[string][]byte{schema.ConfigFile(runtime.GOOS): f.Config(change),
		schema.AnchorFile(runtime.GOOS): f.Anchor} {
		if err := os.MkdirAll(filepath.Dir(h.files.Path(name)), 0o755); err != nil {
			h.t.Fatal(err)
		}
		if err := os.WriteFile(h.files.Path(name), b, 0o600); err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestAnInstalledPackageSaysAllButHostUserAndPassword(t *testing.T) {
	f := testfleet.New(t)
	f.Add("web01")
	h := newHost(t, f)
	h.bake(f, nil)
	if server, _, registered, err := h.Known(); err != nil || registered || server != f.URL {
		t.Errorf("known: %q %v %v", server, registered, err)
	}
	if _, err := h.Register(t.Context(), RegisterOptions{Host: "web01", User: testfleet.User,
		Password: func() (string, error) { return testfleet.Password, nil }}); err != nil {
		t.Fatal(err)
	}
	if r := h.stateOf().Registration; r.Server != f.URL || r.Site != "central" {
		t.Errorf("registration %+v", r)
	}
}

func TestShowConfigSaysWhichFileWins(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	value := func(name string) state.Setting {
		t.Helper()
		s, err := h.ShowConfig()
		if err != nil {
			t.Fatal(err)
		}
		if b, err := json.Marshal(s); err != nil || strings.Contains(string(b), h.stateOf().Registration.Secret) ||
			strings.Contains(string(b), "letmein") {
			t.Errorf("JSON with a secret: %s, %v", b, err)
		}
		for _, v := range s.Settings {
			if v.Name == name {
				return v
			}
		}
		t.Fatalf("no setting %q", name)
		return state.Setting{}
	}
	if v := value("accepted keys"); v.From != "state" || !strings.HasPrefix(v.Value, "file (sha256 ") {
		t.Errorf("before there is a package: %+v", v)
	}
	h.bake(f, func(c *schema.AgentConfig) {
		c.Server = "https://elsewhere.example"
		c.Proxy = schema.Proxy{Mode: "explicit", URL: "http://proxyuser:letmein@proxy.example:3128"}
	})
	for name, want := range map[string]state.Setting{
		"accepted keys": {From: "config"}, "interval": {From: "config", Value: "1h0m0s"}, "anchor": {From: "config"},
		"server":      {From: "config, state", Value: "https://elsewhere.example, then " + f.URL},
		"proxy":       {From: "config", Value: "http://hidden@proxy.example:3128"},
		"host secret": {From: "state", Value: "set (hidden)"},
		"fleet":       {From: "config", Value: "acme"},
	} {
		if v := value(name); v.From != want.From || want.Value != "" && v.Value != want.Value {
			t.Errorf("%s: %+v, want %+v", name, v, want)
		}
	}
}

func TestABrokenBakedFileIsNamedAndUpdatesNothing(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	h.bake(f, nil)
	if err := os.WriteFile(h.files.Path(schema.ConfigFile(runtime.GOOS)), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil ||
		!strings.Contains(err.Error(), schema.ConfigFile(runtime.GOOS)) ||
		!strings.Contains(fault.HintOf(err), "dpkg -i") {
		t.Errorf("update: %v", err)
	}
	if s, err := h.Status(); err != nil || !strings.Contains(s.Problem, schema.ConfigFile(runtime.GOOS)) {
		t.Errorf("status: %v, %+v", err, s)
	}
	if s, err := h.ShowConfig(); err != nil || !strings.Contains(s.Problem, schema.ConfigFile(runtime.GOOS)) {
		t.Errorf("show-config: %v, %+v", err, s)
	}
}
