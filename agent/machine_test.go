package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/schema"
)

const (
	originalID = "11111111111111111111111111111111"
	cloneID    = "22222222222222222222222222222222"
)

// machine sets the host's machine-id.
func (h *host) machine(id string) {
	h.t.Helper()
	name := h.files.Path("/etc/machine-id")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(id+"\n"), 0o644); err != nil {
		h.t.Fatal(err)
	}
}

// warned is an update that has to succeed, and what it warns of.
func warned(t *testing.T, f *testfleet.Fleet, root string) (warnings string) {
	t.Helper()
	a, err := New(Options{Root: root, Version: "1.2.3", Now: f.Now, Warn: func(s string) { warnings += s + "\n" }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Update(t.Context(), UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return warnings
}

func TestACopyOfAHostIsNotRefusedAndSaysWhatItIs(t *testing.T) {
	f := testfleet.New(t)
	f.Give("web01", version(f, "one"))
	f.Add("web02")
	original := newHost(t, f)
	original.machine(originalID)
	if _, err := original.Register(t.Context(), options(t, f, "web01")); err != nil {
		t.Fatal(err)
	}
	original.update()
	clone := newHost(t, f)
	if err := os.CopyFS(clone.root, os.DirFS(original.root)); err != nil {
		t.Fatal(err)
	}
	clone.machine(cloneID)

	said := warned(t, f, clone.root)
	const want = "this is another machine than the one that was registered as web01"
	if !strings.Contains(said, want) || !strings.Contains(said, "bakehouse-agent register --force --host NAME") {
		t.Errorf("the copy warns %q", said)
	}
	if said := warned(t, f, original.root); said != "" {
		t.Errorf("the original warns %q", said)
	}
	s, err := clone.Status()
	var text strings.Builder
	if err != nil || s.Print(&text) != nil || s.Err() != nil || !strings.Contains(text.String(), want) ||
		!strings.Contains(text.String(), "register --force") || s.Problem != "" {
		t.Errorf("its status is %s (%v)", &text, err)
	}
	clone.runs("one")

	// What they report tells them apart, and is not the id itself.
	reports := f.Reports()
	two, one := reports[len(reports)-2].Report.Machine, reports[len(reports)-1].Report.Machine
	ids := originalID + cloneID
	if one == two || len(one) != 16 || strings.Contains(ids, one) || strings.Contains(ids, two) {
		t.Errorf("they report %q and %q", one, two)
	}

	o := options(t, f, "web02")
	o.Force, o.Anchor, o.Keys = true, "", nil
	if _, err := clone.Register(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f.Give("web02", version(f, "one"))
	if said := warned(t, f, clone.root); said != "" {
		t.Errorf("once registered, the copy warns %q", said)
	}
}

func TestAMachineWithoutAnIDSaysNothingAndGetsOneNoted(t *testing.T) {
	f := testfleet.New(t)
	f.Give("web01", version(f, "one"))
	h := registered(t, f, "web01")
	for _, id := range []string{"", "uninitialized", strings.Repeat("0", 32), "short"} {
		if id != "" {
			h.machine(id)
		}
		if said := warned(t, f, h.root); said != "" || h.stateOf().Registration.Machine != "" {
			t.Errorf("machine-id %q: warns %q", id, said)
		}
	}
	h.machine(originalID)
	if said := warned(t, f, h.root); said != "" || h.stateOf().Registration.Machine == "" {
		t.Errorf("registered before, it warns %q", said)
	}
	h.machine(cloneID)
	if said := warned(t, f, h.root); !strings.Contains(said, "another machine") {
		t.Errorf("it warns %q", said)
	}
	if s, err := h.Status(); err != nil || s.Last.State != schema.StateCurrent {
		t.Errorf("%+v, %v", s, err)
	}
}
