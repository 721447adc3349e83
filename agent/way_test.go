package agent

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

// settled is a package with a program and settings of its own.
func settled(f *testfleet.Fleet, text string, change func(*schema.AgentConfig)) *trusttest.Package {
	s := spec(text)
	s.Config = false
	s.Own[schema.ConfigFile(runtime.GOOS)] = string(f.Config(change))
	s.Own[schema.AnchorFile(runtime.GOOS)] = string(f.Anchor)
	return f.Pack(s)
}

// central is what the fleet's policy says of the server from now on.
func central(f *testfleet.Fleet, url string, certificates ...[]byte) {
	all := string(bytes.Join(certificates, nil))
	f.Policy.Sites = map[string]schema.Site{schema.CentralSite: {URL: url, Certificates: all}}
	f.Publish()
}

// shown is a certificate that a server of the fleet can show, and by which it is believed.
func shown(t *testing.T, f *testfleet.Fleet, name string) ([]byte, tls.Certificate) {
	t.Helper()
	return certificate(t, name, f.Now().Add(12*time.Hour))
}

// answering is a server that always answers in the same way, and how often it was asked.
func answering(t *testing.T, answer http.HandlerFunc) (url string, asked func() int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

// closed is the URL of a server that is not there.
func closed(scheme string) string {
	s := httptest.NewServer(nil)
	s.Close()
	return strings.Replace(s.URL, "http", scheme, 1)
}

func TestAReleaseWhoseSettingsReachNoServerIsTakenBackByTheNextOne(t *testing.T) {
	t.Parallel()
	mistaken := string(authority(t, "Mistaken CA"))
	nothing, _ := answering(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for name, c := range map[string]struct {
		bad    func(*schema.AgentConfig)
		signed func(f *testfleet.Fleet) // the mistake in the fleet itself
		found  bool                     // another way than the last one, without any of the rule's
	}{
		"a mistyped proxy": {bad: func(c *schema.AgentConfig) {
			c.Proxy = schema.Proxy{Mode: "explicit", URL: closed("http")}
		}},
		"a mistyped server": {bad: func(c *schema.AgentConfig) {
			c.Server, c.Fixed = closed("https"), true
		}},
		"the server of something else": {bad: func(c *schema.AgentConfig) { c.Server, c.Fixed = nothing, true }},
		"another authority, and signed policy has the right one": {
			bad: func(c *schema.AgentConfig) { c.Certificates = []string{mistaken} }, found: true},
		"another authority, of the whole fleet": {
			bad:    func(c *schema.AgentConfig) { c.Certificates = []string{mistaken} },
			signed: func(f *testfleet.Fleet) { central(f, f.URL, []byte(mistaken)) }},
		"another url, of the whole fleet": {
			bad:    func(c *schema.AgentConfig) { c.Server = "https://nowhere.invalid" },
			signed: func(f *testfleet.Fleet) { central(f, "https://nowhere.invalid", f.CA) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Alike(t)
			f := testfleet.New(t)
			h := registered(t, f, "web01")
			central(f, f.URL, f.CA)
			f.Give("web01", settled(f, "one", nil))
			h.update()
			h.update()
			// Registration is a fallback of its own, which is not what this is about.
			s := h.stateOf()
			s.Registration.Server = closed("https")
			if err := h.files.Write(s); err != nil {
				t.Fatal(err)
			}
			if c.signed != nil {
				c.signed(f)
			}
			f.Give("web01", settled(f, "two", c.bad))
			h.update()
			h.runs("two")
			for range 2 {
				if r := h.update(); r.Code != schema.CodeCurrent || r.Package.Release != 2 {
					t.Fatalf("with settings that reach no server: %s", r)
				}
			}
			status, err := h.Status()
			if err != nil || strings.HasPrefix(status.LastWay, f.URL) == c.found {
				t.Errorf("%v, last way %q", err, status.LastWay)
			}
			if c.signed != nil {
				central(f, f.URL, f.CA)
			}
			f.Give("web01", settled(f, "three", nil))
			h.update()
			h.runs("three")
			f.Requests()
			h.update()
			if w := h.stateOf().Worked; w == nil || w.Server != f.URL || len(f.Requests()) != 1 {
				t.Errorf("in the end the way is %v", w)
			}
			if s, err := h.Status(); err != nil || s.LastWay != "" {
				t.Errorf("%v, last way %q", err, s.LastWay)
			}
		})
	}
}

// credentialsFrom fails the test if a request has credentials before the first one for path has come, or one has none
// from then on; it tells whether that has come.
func credentialsFrom(t *testing.T, f *testfleet.Fleet, path string) *bool {
	come := false
	f.Bend(func(_ http.ResponseWriter, r *http.Request) bool {
		come = come || r.URL.Path == path
		if _, _, with := r.BasicAuth(); with != come {
			t.Errorf("%s %s: with credentials: %v", r.Method, r.URL.Path, with)
		}
		return false
	})
	return &come
}

func TestAHostThatWasOffDuringAChangeOfAuthorityFindsTheNewOneInSignedPolicy(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	central(f, f.URL, f.CA)
	f.Give("web01", version(f, "one"))
	h.update()
	h.update()
	// Added beside the old one, reviewed, signed, published; now the server shows a certificate of the new authority.
	ca, cert := shown(t, f, "New CA")
	central(f, f.URL, f.CA, ca)
	f.Give("web01", settled(f, "two", func(c *schema.AgentConfig) {
		c.Certificates = []string{string(f.CA), string(ca)}
	}))
	f.Present(cert)
	polled := credentialsFrom(t, f, schema.PollPath)
	h.update()
	h.runs("two")
	if !*polled || !strings.Contains(h.said.String(), "signed policy names another way") {
		t.Errorf("narration:\n%s", &h.said)
	}
	// The old one is removed; the host needs nothing unverified any more.
	central(f, f.URL, ca)
	f.Give("web01", settled(f, "three", func(c *schema.AgentConfig) { c.Certificates = []string{string(ca)} }))
	h.update()
	h.runs("three")
	f.Requests()
	h.update()
	if asked := f.Requests(); !slices.Equal(asked, []string{"POST " + schema.PollPath}) {
		t.Errorf("in the end it asks for %q", asked)
	}
}

func TestAStolenAuthorityThatWasWithdrawnGetsNoCredentials(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"registration", "settings"} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			f := testfleet.New(t)
			i := intercept(t, f)
			f.URL = i.URL
			stolen, thief := shown(t, f, "Stolen CA")
			f.Add("web01")
			h := newHost(t, f)
			o := options(t, f, "web01")
			if source == "registration" {
				o.CA = file(t, append(bytes.Clone(f.CA), stolen...))
			}
			if _, err := h.Register(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			old := [][]byte{f.CA}
			if source == "settings" {
				old = append(old, stolen)
			}
			central(f, f.URL, old...)
			f.Give("web01", settled(f, "one", func(c *schema.AgentConfig) {
				c.Certificates = nil
				for _, ca := range old {
					c.Certificates = append(c.Certificates, string(ca))
				}
			}))
			h.update()
			central(f, f.URL, f.CA)
			f.Give("web01", settled(f, "two", nil))
			h.update()
			h.runs("two")
			h.update() // the new way has worked
			i.show(&thief, nil)
			if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnreachable {
				t.Errorf("%v, %s", err, r)
			}
			if got := i.all(); !strings.Contains(got, "GET /v1/metadata/") {
				t.Errorf("the thief was asked for nothing, so this shows nothing: %s", got)
			}
			h.secretFree(i.all())
			if certs := h.stateOf().Registration.Certificates; len(certs) > 0 {
				t.Errorf("registration still believes %q", certs)
			}
		})
	}
}

// Until what is signed or baked has worked, a host must not lose the authority that its registration believed.
func TestTheAuthorityOfRegistrationServesUntilOthersHaveWorked(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	mistaken := authority(t, "Mistaken CA")
	f.Give("web01", settled(f, "one", func(c *schema.AgentConfig) { c.Certificates = []string{string(mistaken)} }))
	h.update()
	h.runs("one")
	s := h.stateOf()
	s.Worked = nil // as if the record had been lost, too
	if err := h.files.Write(s); err != nil {
		t.Fatal(err)
	}
	h.update()
	if len(h.stateOf().Registration.Certificates) == 0 {
		t.Fatal("the authority of registration is forgotten, and no other one has worked")
	}
	f.Give("web01", settled(f, "two", nil))
	h.update()
	h.update()
	h.runs("two")
	if certs := h.stateOf().Registration.Certificates; len(certs) > 0 {
		t.Errorf("registration still believes %q", certs)
	}
	h.update()
}

func TestMovingTheServerInTheRepositoryMovesHosts(t *testing.T) {
	t.Parallel()
	for name, move := range map[string]func(f *testfleet.Fleet, h *host, to string){
		"the fleet's url, of a host that has its package": func(f *testfleet.Fleet, h *host, to string) {
			central(f, to, f.CA)
			f.Give("web01", settled(f, "two", func(c *schema.AgentConfig) { c.Server = to }))
		},
		"the fleet's url, of a host that is held": func(f *testfleet.Fleet, h *host, to string) {
			f.Policy.Enabled = false
			central(f, to, f.CA)
		},
		"the server of a rule": func(f *testfleet.Fleet, h *host, to string) {
			f.Give("web01", settled(f, "two", func(c *schema.AgentConfig) { c.Server, c.Fixed = to, true }))
		},
		"the server of a rule, without a signed site": func(f *testfleet.Fleet, h *host, to string) {
			f.Policy.Sites = nil
			f.Give("web01", settled(f, "two", func(c *schema.AgentConfig) { c.Server = to }))
		},
		"the host's site": func(f *testfleet.Fleet, h *host, to string) {
			f.Policy.Sites["paris"] = schema.Site{URL: to, Certificates: string(f.CA)}
			f.Give("web01", version(f, "two"), func(t *schema.Target) { t.Site = "paris" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Alike(t)
			f := testfleet.New(t)
			h := registered(t, f, "web01")
			central(f, f.URL, f.CA)
			f.Give("web01", settled(f, "one", nil))
			h.update()
			to := intercept(t, f).URL // the same fleet at another place; the old one goes on answering
			move(f, h, to)
			h.update()
			h.said.Reset()
			h.update()
			if !strings.Contains(h.said.String(), "polled "+to) || h.stateOf().Worked.Server != to {
				t.Errorf("it asks at the old place:\n%s", &h.said)
			}
		})
	}
}

func TestWhatIsNotABakehouseServerIsSaidAndTheNextServerIsAsked(t *testing.T) {
	t.Parallel()
	page := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			io.WriteString(w, "<html>Welcome to nginx!")
		}
	}
	const other = "is not an answer of a Bakehouse server"
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"a portal that redirects to its login": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example/?from=x", http.StatusFound)
		}, "redirects to https://login.example, which is not followed"},
		"a portal that shows its login":      {page(200), "(text/html) that " + other},
		"a web server that has no such page": {page(404), "404 Not Found (text/html), which " + other},
		"a web server without POST":          {page(405), "405 Method Not Allowed (text/html), which " + other},
		"a proxy that wants a login":         {page(401), "401 Unauthorized (text/html), which " + other},
		"a firewall":                         {page(403), "403 Forbidden (text/html), which " + other},
		"a gateway without its server":       {page(502), "502 Bad Gateway (text/html), which " + other},
		"what answers nothing to everybody": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNoContent)
		}, "it has nothing, for a host that asked for the timestamp"},
		"an API of something else": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"status":"ok"}`)
		}, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			needs.Alike(t)
			f := testfleet.New(t)
			h := registered(t, f, "web01")
			f.Give("web01", settled(f, "one", nil))
			h.update()
			url, asked := answering(t, c.answer)
			central(f, url)
			f.Give("web01", settled(f, "two", nil))
			h.update()
			h.said.Reset()
			f.Give("web01", settled(f, "three", nil))
			h.update()
			h.runs("three")
			if asked() == 0 || !strings.Contains(h.said.String(), c.says) {
				t.Errorf("asked %d times; narration:\n%s", asked(), &h.said)
			}
			// Without another server it is that one's answer which is told.
			f.Close()
			r, err := h.Update(t.Context(), UpdateOptions{})
			if err == nil || r.Code != outcome.CodeUnreachable || !strings.Contains(err.Error(), c.says) ||
				fault.HintOf(err) == "" {
				t.Errorf("%v (%s), %s", err, fault.HintOf(err), r)
			}
		})
	}
}

// A server that refuses a host's secret may be the wrong one of two.
func TestAServerThatDoesNotKnowTheHostIsNotTheLastOneToBeAsked(t *testing.T) {
	t.Parallel()
	f, strange := testfleet.New(t), testfleet.New(t)
	h := registered(t, f, "web01")
	central(f, strange.URL, f.CA, strange.CA)
	f.Give("web01", settled(f, "one", nil))
	h.update()
	f.Give("web01", settled(f, "two", nil))
	h.update()
	h.runs("two")
	f.Close()
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeRejected ||
		!strings.Contains(fault.HintOf(err), "register --force") {
		t.Errorf("%v (%s), %s", err, fault.HintOf(err), r)
	}
}

func TestALostRecordHasTheWayOfTheBakedAndSignedSettings(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	central(f, f.URL, f.CA)
	f.Give("web01", settled(f, "one", nil))
	h.update()
	h.update()
	lost := &state.Record{Schema: state.RecordSchema, Registration: h.stateOf().Registration}
	if err := h.files.Write(lost); err != nil {
		t.Fatal(err)
	}
	h.update()
	if s := h.stateOf(); s.Worked == nil || s.Worked.Server != f.URL || s.Site == nil || s.Site.URL != f.URL {
		t.Errorf("%+v, %v", s.Site, s.Worked)
	}
}

func TestRegistrationFindsANewAuthorityInSignedPolicyBeforeItSendsThePassword(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	central(f, f.URL, f.CA)
	f.Give("web01", settled(f, "one", nil))
	h.update()
	ca, cert := shown(t, f, "New CA")
	central(f, f.URL, f.CA, ca)
	f.Present(cert)
	asked := credentialsFrom(t, f, schema.RegisterPath)
	o := options(t, f, "web01")
	o.Server, o.CA, o.Anchor, o.Keys, o.Force = "", "", "", nil, true
	if _, err := h.Register(t.Context(), o); err != nil || !*asked {
		t.Fatalf("%v (%s)", err, fault.HintOf(err))
	}
	h.recovers(f, "one")
	// An interceptor gets nothing by it: no password, and no registration.
	_, thief := shown(t, f, "Interceptor")
	f.Present(thief)
	f.Bend(func(_ http.ResponseWriter, r *http.Request) bool {
		if _, _, with := r.BasicAuth(); with {
			t.Errorf("%s %s: with credentials", r.Method, r.URL.Path)
		}
		return false
	})
	if _, err := h.Register(t.Context(), o); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v", err)
	}
}

func TestRegistrationWithAnotherFleetForgetsTheWaysOfTheOneBefore(t *testing.T) {
	t.Parallel()
	f, other := testfleet.New(t), testfleet.New(t)
	h := registered(t, f, "web01")
	central(f, f.URL, f.CA)
	h.update()
	other.Add("web01")
	o := options(t, other, "web01")
	o.Force = true
	if _, err := h.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.Requests()
	other.Give("web01", settled(other, "theirs", nil))
	h.update()
	h.runs("theirs")
	if asked := f.Requests(); len(asked) > 0 {
		t.Errorf("the fleet before was asked for %q", asked)
	}
}

func TestRegistrationAtSomethingElseSaysSo(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := newHost(t, f)
	o := options(t, f, "web01")
	for status, want := range map[int]string{404: "404 Not Found (text/html)", 401: "401 Unauthorized (text/html)",
		403: "403 Forbidden (text/html), which", 200: "(text/html) that is not an answer of a Bakehouse server"} {
		o.Server, _ = answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(status)
			io.WriteString(w, "<html>")
		})
		if _, err := h.Register(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(fault.HintOf(err), "something else answers at "+o.Server) {
			t.Errorf("%v (%s)", err, fault.HintOf(err))
		}
	}
}
