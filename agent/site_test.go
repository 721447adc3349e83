package agent

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
)

// remote is a site of the fleet: a server with an authority of its own, which may be down, or not know its hosts.
type remote struct {
	*interceptor
	ca     []byte
	status atomic.Int32 // that all is answered with; 0: as the fleet answers
	denies atomic.Bool  // polls
	polls  atomic.Int32 // that came, answered or not
}

func newRemote(t *testing.T, f *testfleet.Fleet, name string) *remote {
	t.Helper()
	s := &remote{interceptor: intercept(t, f)}
	ca, cert := shown(t, f, name)
	s.ca = ca
	s.show(&cert, func(w http.ResponseWriter, r *http.Request) bool {
		status := s.status.Load()
		if r.URL.Path == schema.PollPath {
			s.polls.Add(1)
			if s.denies.Load() {
				status = http.StatusUnauthorized
			}
		}
		if status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(int(status))
			io.WriteString(w, `{"error": "not now"}`)
		}
		return status != 0
	})
	return s
}

// sited publishes the fleet's own server and these sites.
func sited(f *testfleet.Fleet, sites map[string]*remote) {
	f.Policy.Sites = map[string]schema.Site{schema.CentralSite: {URL: f.URL, Certificates: string(f.CA)}}
	for name, s := range sites {
		f.Policy.Sites[name] = schema.Site{URL: s.URL, Certificates: string(s.ca)}
	}
	f.Publish()
}

func at(site string) func(*schema.Target) { return func(t *schema.Target) { t.Site = site } }

// asks updates and says which server answered.
func (h *host) polls() string {
	h.t.Helper()
	h.said.Reset()
	h.update()
	_, line, _ := strings.Cut(h.said.String(), "polled ")
	server, _, _ := strings.Cut(line, ": ")
	return server
}

func TestAHostMovesToItsSiteAndKeepsTheOneBeforeUntilTheNewOneAnswered(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	paris, rome := newRemote(t, f, "Paris CA"), newRemote(t, f, "Rome CA")
	sited(f, map[string]*remote{"paris": paris, "rome": rome})
	f.Give("web01", settled(f, "one", nil), at("paris"))
	h.update()
	h.runs("one")
	if got := h.polls(); got != paris.URL {
		t.Fatalf("it asks %s, and its site is %s", got, paris.URL)
	}
	// The rule moves it to a site that is not up yet: releases go on arriving by the site before.
	rome.status.Store(http.StatusServiceUnavailable)
	f.Give("web01", settled(f, "two", nil), at("rome"))
	h.update()
	f.Give("web01", settled(f, "three", nil), at("rome"))
	if got := h.polls(); got != paris.URL {
		t.Fatalf("it asks %s while its new site is down, and was at %s", got, paris.URL)
	}
	h.runs("three")
	if got := h.polls(); got != paris.URL || rome.polls.Load() == 0 {
		t.Errorf("it asks %s; the new site was asked %d times", got, rome.polls.Load())
	}
	rome.status.Store(0)
	if got := h.polls(); got != rome.URL {
		t.Fatalf("it asks %s, and its site %s is up", got, rome.URL)
	}
	// That ended the site before: it is asked no more, whatever becomes of the new one.
	before := paris.polls.Load()
	rome.status.Store(http.StatusServiceUnavailable)
	if got := h.polls(); got != f.URL || paris.polls.Load() != before {
		t.Errorf("it asks %s, and the site before %d times", got, paris.polls.Load()-before)
	}
}

func TestAHostWhoseSiteIsDownAsksTheFleetsOwnServerUntilItIsBack(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	paris := newRemote(t, f, "Paris CA")
	sited(f, map[string]*remote{"paris": paris})
	f.Give("web01", settled(f, "one", nil), at("paris"))
	h.update()
	for _, c := range []struct {
		status int32
		want   string
	}{{0, paris.URL}, {http.StatusBadGateway, f.URL}, {http.StatusBadGateway, f.URL}, {0, paris.URL}} {
		paris.status.Store(c.status)
		if got := h.polls(); got != c.want {
			t.Errorf("it asks %s, want %s", got, c.want)
		}
	}
}

func TestAHostThatRegistersAtAnotherSiteFindsItsOwnBySignedPolicy(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	paris, rome := newRemote(t, f, "Paris CA"), newRemote(t, f, "Rome CA")
	sited(f, map[string]*remote{"paris": paris, "rome": rome})
	f.Give("web01", settled(f, "one", nil), at("rome"))
	paris.denies.Store(true) // it has the registrations of its own hosts alone
	h := newHost(t, f)
	o := options(t, f, "web01")
	o.Server, o.CA = paris.URL, file(t, paris.ca)
	r, err := h.Register(t.Context(), o)
	if err != nil || r.Site != "rome" {
		t.Fatalf("%+v, %v", r, err)
	}
	if got := h.polls(); got != rome.URL {
		t.Errorf("it asks %s, and its site is %s", got, rome.URL)
	}
	h.runs("one")
	polls := paris.polls.Load()
	if got := h.polls(); got != rome.URL || paris.polls.Load() != polls {
		t.Errorf("it asks %s, and %s %d times more", got, paris.URL, paris.polls.Load()-polls)
	}
}

// What a server says of a host's site is a hint: the URL is that of signed policy, or none.
func TestAServerCannotSendAHostToAServerOfItsOwn(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	thief := newRemote(t, f, "Thief")
	f.Give("web01", settled(f, "one", nil), at("elsewhere"))
	sited(f, nil)
	h := registered(t, f, "web01") // the answer names a site that policy does not have
	h.update()
	for range 2 {
		if got := h.polls(); got != f.URL {
			t.Errorf("it asks %s", got)
		}
	}
	if thief.polls.Load() != 0 {
		t.Error("the thief was asked")
	}
}
