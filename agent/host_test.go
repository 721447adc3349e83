package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/agent/contact"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// host is a sandboxed host of a test fleet.
type host struct {
	t    testing.TB
	root string
	said bytes.Buffer // narration
	*Agent
}

// newHost makes a host that is not registered and has no package.
func newHost(t testing.TB, f *testfleet.Fleet) *host {
	t.Helper()
	h := &host{t: t, root: t.TempDir()}
	h.Agent = h.start(f)
	return h
}

// start makes the updater as a new process would.
func (h *host) start(f *testfleet.Fleet) *Agent {
	h.t.Helper()
	a, err := New(Options{Root: h.root, Version: "1.2.3", Now: f.Now, Narrate: &h.said})
	if err != nil {
		h.t.Fatal(err)
	}
	return a
}

// stamped are the files of a poll that brings a timestamp and nothing else.
func stamped(timestamp []byte) []schema.PollFile {
	return []schema.PollFile{{Name: "timestamp.json", Data: timestamp}}
}

func file(t testing.TB, content []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// options register a host without a package.
func options(t testing.TB, f *testfleet.Fleet, name string) RegisterOptions {
	t.Helper()
	return RegisterOptions{Server: f.URL, Host: name, User: testfleet.User,
		Options: contact.Options{CA: file(t, f.CA), Anchor: file(t, f.Anchor),
			Keys: []string{file(t, []byte(f.Package.PEM()))}},
		Password: func() (string, error) { return testfleet.Password, nil }}
}

// registered makes a host that is registered and has no package.
func registered(t *testing.T, f *testfleet.Fleet, name string) *host {
	t.Helper()
	f.Add(name)
	h := newHost(t, f)
	if _, err := h.Register(t.Context(), options(t, f, name)); err != nil {
		t.Fatalf("register: %v (%s)", err, fault.HintOf(err))
	}
	return h
}

// update that must succeed.
func (h *host) update() Result {
	h.t.Helper()
	r, err := h.Update(h.t.Context(), UpdateOptions{})
	if err != nil {
		h.t.Fatalf("update: %v (%s)\n%s", err, fault.HintOf(err), &h.said)
	}
	return r
}

// refused is an update that must be refused, with words in its error, and leave the host as it was.
func (h *host) refused(words ...string) Result {
	h.t.Helper()
	before := h.reads("/usr/bin/agent")
	r, err := h.Update(h.t.Context(), UpdateOptions{})
	if !fault.IsRefusal(err) || r.State != schema.StateRefused || fault.ExitCode(err) != fault.ExitRefused {
		h.t.Fatalf("update ended %s with %v, want a refusal\n%s", r.State, err, &h.said)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			h.t.Errorf("%q does not say %q", err, w)
		}
	}
	if after := h.reads("/usr/bin/agent"); after != before {
		h.t.Errorf("the agent was %q and is %q", before, after)
	}
	return r
}

// reads returns a file of the host, or why not.
func (h *host) reads(name string) string {
	b, err := os.ReadFile(h.files.Path(name))
	if errors.Is(err, os.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (h *host) runs(want string) {
	h.t.Helper()
	if got := h.reads("/usr/bin/agent"); got != want {
		h.t.Errorf("the host runs %q, want %q", got, want)
	}
}

// version is a package whose program is text; bulk is a file that all versions share.
func version(f *testfleet.Fleet, text string) *trusttest.Package {
	return f.Pack(spec(text))
}

var bulk = strings.Repeat("a big program that does not change; ", 20000)

func spec(text string) testfleet.Spec {
	return testfleet.Spec{Version: text, Config: true, Shared: map[string]string{"/usr/lib/acme/big": bulk},
		Own: map[string]string{"/usr/bin/agent": text}}
}

// stateOf reads state.json.
func (h *host) stateOf() *state.Record {
	h.t.Helper()
	s, err := h.files.Record()
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}
