package agent

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// to is the handover to another fleet, as a rule has it.
func to(g *testfleet.Fleet) *schema.Handover {
	return &schema.Handover{Fleet: g.Name, Server: g.URL, Certificates: []string{string(g.CA)},
		Root: schema.DigestOf(g.Anchor), Threshold: 1,
		Keys: []schema.AcceptedKey{{Name: "release", Public: g.Package.PEM()}}}
}

// leaving is a host of f that runs a package which hands it over.
func leaving(t *testing.T, f *testfleet.Fleet, handover *schema.Handover) *host {
	t.Helper()
	h := registered(t, f, "web01")
	h.Agent.opts.Warn = func(text string) { h.said.WriteString(text + "\n") }
	central(f, f.URL, f.CA)
	for _, text := range []string{"one", "two", "three"} {
		f.Give("web01", settled(f, text, nil))
		h.update()
	}
	f.Give("web01", settled(f, "leaving", func(c *schema.AgentConfig) { c.Handover = handover }))
	h.update()
	h.runs("leaving")
	return h
}

// stays checks that an update leaves the host with its fleet, for that reason.
func (h *host) stays(f *testfleet.Fleet, why string) {
	h.t.Helper()
	if got := h.polls(); got != f.URL {
		h.t.Errorf("it asks %s", got)
	}
	if !strings.Contains(h.said.String(), why) {
		h.t.Errorf("no %q in\n%s", why, &h.said)
	}
	if s := h.stateOf(); s.Joined != nil || s.Registration.Server != f.URL || s.Installed.Release == 0 {
		h.t.Errorf("%+v", s)
	}
}

func TestAHostIsHandedOverToAnotherFleetInTwoStepsWithoutAPassword(t *testing.T) {
	t.Parallel()
	f, g := testfleet.New(t), testfleet.New(t) // both are called acme: the root says which
	h := leaving(t, f, to(g))
	secret := h.stateOf().Registration.Secret
	h.stays(f, "is not registered here")
	g.Admit("web01", secret)
	h.stays(f, "has no package for host web01")
	// What its own fleet publishes goes on arriving until all is there.
	f.Give("web01", settled(f, "waiting", func(c *schema.AgentConfig) { c.Handover = to(g) }))
	h.update()
	h.runs("waiting")
	// The other fleet is young: its releases begin anew.
	central(g, g.URL, g.CA)
	g.Give("web01", settled(g, "moved", nil))
	if r := h.update(); r.Package.Release != 1 {
		t.Errorf("%s\n%s", r, &h.said)
	}
	h.runs("moved")
	f.Requests()
	f.Give("web01", settled(f, "called back", nil))
	if got := h.polls(); got != g.URL || len(f.Requests()) != 0 {
		t.Errorf("it asks %s", got)
	}
	h.runs("moved")
	s := h.stateOf()
	if s.Joined == nil || s.Registration.Secret != secret || s.Registration.Server != g.URL || len(s.Failed) != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := os.Stat(h.files.Stored(state.TrustDir(schema.Digest{}))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was verified of the fleet before is still there: %v", err)
	}
	g.Give("web01", settled(g, "settled", nil))
	h.update()
	h.runs("settled")
	// A lost record finds the way by what is baked and by the registration.
	if err := os.Remove(h.files.Stored(state.RecordFile)); err != nil {
		t.Fatal(err)
	}
	if got := h.polls(); got != g.URL {
		t.Errorf("with a lost record it asks %s\n%s", got, &h.said)
	}
	h.runs("settled")
}

func TestAnIllPackageOfTheNewFleetLeavesTheHostWithItAndWhatRan(t *testing.T) {
	t.Parallel()
	f, g := testfleet.New(t), testfleet.New(t)
	h := leaving(t, f, to(g))
	g.Admit("web01", h.stateOf().Registration.Secret)
	sick := script("#!/bin/sh\nexit 1\n")
	sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(30 * time.Millisecond)}}
	g.Give("web01", g.Pack(sick))
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeUnhealthy {
		t.Fatalf("%v, %s", err, r)
	}
	h.runs("leaving")
	if got := h.polls(); got != g.URL {
		t.Errorf("it asks %s", got)
	}
	g.Give("web01", settled(g, "well", nil))
	h.update()
	h.runs("well")
}

// Each of these is a mistake, or an attack by whoever has that server: the host stays, and what it does not verify gets
// nothing of it.
func TestAHandoverThatDoesNotVerifyLeavesTheHostWithItsFleet(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bend func(t *testing.T, g *testfleet.Fleet, to *schema.Handover)
		why  string
	}{
		"another root": {func(_ *testing.T, _ *testfleet.Fleet, to *schema.Handover) {
			to.Root = schema.DigestOf([]byte("another"))
		}, "not the one of the handover"},
		"a certificate of nobody": {func(t *testing.T, g *testfleet.Fleet, _ *schema.Handover) {
			_, thief := shown(t, g, "Thief")
			g.Present(thief)
			g.Bend(func(_ http.ResponseWriter, r *http.Request) bool {
				t.Errorf("%s %s reaches the thief", r.Method, r.URL.Path)
				return false
			})
		}, "unknown authority"},
		"other keys": {func(_ *testing.T, _ *testfleet.Fleet, to *schema.Handover) {
			to.Keys[0].Public = trusttest.NewKey().PEM()
		}, "signature"},
		"two keys, and one signed": {func(_ *testing.T, _ *testfleet.Fleet, to *schema.Handover) {
			to.Keys = append(to.Keys, schema.AcceptedKey{Name: "second", Public: trusttest.NewKey().PEM()})
			to.Threshold = 2
		}, "signature"},
		"another name": {func(_ *testing.T, _ *testfleet.Fleet, to *schema.Handover) { to.Fleet = "other" },
			"serves fleet acme, not other"},
		"metadata that nobody signed": {func(_ *testing.T, g *testfleet.Fleet, _ *schema.Handover) {
			g.Bring(func(list []schema.PollFile) []schema.PollFile {
				list[0].Data = bytes.Clone(list[0].Data)
				list[0].Data[len(list[0].Data)/2] ^= 1
				return list
			})
			g.Bend(func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasPrefix(r.URL.Path, schema.MetadataPath) || strings.HasSuffix(r.URL.Path, "root.json") {
					return false
				}
				_, err := w.Write([]byte(`{"signed":{},"signatures":[]}`))
				return err == nil
			})
		}, "stays with its own for now"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, g := testfleet.New(t), testfleet.New(t)
			handover := to(g)
			g.Give("web01", settled(g, "moved", nil))
			c.bend(t, g, handover)
			h := leaving(t, f, handover)
			g.Admit("web01", h.stateOf().Registration.Secret)
			for range 2 {
				h.stays(f, c.why)
			}
			h.runs("leaving")
		})
	}
}
