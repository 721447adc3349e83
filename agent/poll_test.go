package agent

import (
	"context"
	"errors"
	"testing"

	"bakehouse/agent/internal/testfleet"
)

// The service asks in its own process, and leaves what it finds to do to another one.
func TestTheServiceDetachesOnlyWhatChangesTheHost(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	var ended []string
	detached := 0
	poll := func() {
		t.Helper()
		err := h.updateOrDetach(t.Context(), RunOptions{
			Detach: func(context.Context) error { detached++; return nil },
			Ended:  func(r Result) { ended = append(ended, r.Code) }})
		if err != nil {
			t.Fatal(err)
		}
	}
	poll()
	if h.runs("absent"); detached != 1 || len(ended) != 0 || h.stateOf().Pending != nil {
		t.Errorf("detached %d times, ended %v, pending %v", detached, ended, h.stateOf().Pending)
	}
	r := h.update() // as the other process does
	if h.runs("one"); r.Package == nil {
		t.Errorf("%s", r)
	}
	poll()
	if detached != 1 || len(ended) != 1 {
		t.Errorf("detached %d times, ended %v", detached, ended)
	}
	if _, err := h.Update(t.Context(), UpdateOptions{Poll: true, Force: true}); !errors.Is(err, errMore) {
		t.Errorf("%v", err)
	}
}
