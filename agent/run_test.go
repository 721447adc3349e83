package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bakehouse/agent/detached"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/pace"
	"bakehouse/agent/state"
	"bakehouse/schema"
)

// looping is a sandbox with a registration written by hand, and an agent on the clock of a synctest bubble.
func looping(t *testing.T, root string, isRegistered bool) *Agent {
	t.Helper()
	a, err := New(Options{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.files.Create(); err != nil {
		t.Fatal(err)
	}
	s := &state.Record{Schema: state.RecordSchema}
	if isRegistered {
		s.Registration = &state.Registration{Server: "https://bakehouse.example", Host: "web01", Secret: "s"}
	}
	if err := a.files.Write(s); err != nil {
		t.Fatal(err)
	}
	return a
}

// checked is what an update leaves behind when it reached the server.
func checked(t *testing.T, a *Agent) {
	t.Helper()
	s, err := a.files.Record()
	if err != nil {
		t.Fatal(err)
	}
	s.LastCheck = time.Now().UTC().Truncate(time.Second)
	if err := a.files.Write(s); err != nil {
		t.Fatal(err)
	}
}

func TestTheLoopKeepsTheIntervalGiveOrTakeATenth(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		err := a.Run(ctx, RunOptions{Update: func(context.Context) error {
			at = append(at, time.Since(began))
			if len(at) == 8 {
				stop()
			}
			checked(t, a)
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if at[0] > time.Minute {
			t.Errorf("the first update came after %s", at[0])
		}
		var gaps []time.Duration
		for i := range at[1:] {
			gap := at[i+1] - at[i]
			gaps = append(gaps, gap)
			if gap < 53*time.Minute || gap > 68*time.Minute {
				t.Errorf("updates %d and %d are %s apart", i, i+1, gap)
			}
		}
		slices.Sort(gaps)
		if len(slices.Compact(gaps)) < 5 {
			t.Errorf("the gaps %s do not vary", gaps)
		}
	})
}

// The network of a notebook or a virtual machine comes some time after the service.
func TestAServerThatWasNotReachedIsAskedAgainSoonAndThenLessAndLess(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		err := a.Run(ctx, RunOptions{Update: func(context.Context) error {
			at = append(at, time.Since(began))
			switch {
			case len(at) == 12: // the network is there
				checked(t, a)
				return nil
			case len(at) == 14:
				stop()
			case len(at) > 12:
				checked(t, a)
				return nil
			}
			return errors.New("unreachable")
		}})
		if err != nil {
			t.Fatal(err)
		}
		for i := range at[1:] {
			gap, want := at[i+1]-at[i], min(firstRetry<<min(i, 20), time.Hour)
			if i >= 11 {
				want = time.Hour
			}
			if gap < want/2 || gap > want*5/4 {
				t.Errorf("tries %d and %d are %s apart, want about %s", i, i+1, gap, want)
			}
		}
	})
}

func TestTheLoopChecksAtOnceWhenItIsAsked(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		checked(t, a)
		ctx, stop := context.WithCancel(t.Context())
		check := make(chan os.Signal, 1)
		began := time.Now()
		time.AfterFunc(time.Minute, func() { check <- os.Interrupt })
		err := a.Run(ctx, RunOptions{Check: check, Update: func(context.Context) error {
			stop()
			return nil
		}})
		if d := time.Since(began); err != nil || d != time.Minute {
			t.Errorf("%v after %s", err, d)
		}
	})
}

func TestTheLoopWaitsForARegistrationAndSaysSoOnce(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, false)
		ctx, stop := context.WithCancel(t.Context())
		var notes []string
		time.AfterFunc(time.Hour, func() {
			s := &state.Record{Schema: state.RecordSchema,
				Registration: &state.Registration{Server: "https://bakehouse.example", Host: "web01"}}
			if err := a.files.Write(s); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		err := a.Run(ctx, RunOptions{Note: func(s string) { notes = append(notes, s) }, Update: func(context.Context) error {
			stop()
			return nil
		}})
		if err != nil || time.Since(began) > 63*time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if len(notes) != 1 || !strings.Contains(notes[0], "run bakehouse-agent register") {
			t.Errorf("notes %q", notes)
		}
	})
}

func TestTheLoopEndsWhenItsProgramWasReplaced(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		program := filepath.Join(root, "program")
		if err := os.WriteFile(program, []byte("old"), 0o755); err != nil {
			t.Fatal(err)
		}
		updates := 0
		err := a.Run(t.Context(), RunOptions{Replaced: detached.Replaced(program), Update: func(context.Context) error {
			checked(t, a)
			if updates++; updates < 3 {
				return nil
			}
			if err := os.WriteFile(program+".new", []byte("new"), 0o755); err != nil {
				return err
			}
			return os.Rename(program+".new", program)
		}})
		if !errors.Is(err, ErrReplaced) || updates != 3 {
			t.Errorf("%v after %d updates", err, updates)
		}
	})
}

func TestAStopDuringTheUpdateThatReplacesTheProgramIsAStop(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		ctx, stop := context.WithCancel(t.Context())
		err := a.Run(ctx, RunOptions{Replaced: func() bool { return true }, Update: func(context.Context) error {
			stop()
			return errors.New("systemd-run was stopped")
		}})
		if err != nil {
			t.Errorf("the loop ended with %v: the new program would start, and the stop be lost", err)
		}
	})
}

func TestTheLoopUpdatesInItsOwnProcessWhereNoUnitCanBeMade(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	ctx, stop := context.WithCancel(t.Context())
	var ended, notes []string
	h.bake(f, func(c *schema.AgentConfig) { c.Interval = schema.Duration(time.Second) })
	p := spec("one")
	p.Config = false
	f.Give("web01", f.Pack(p))
	if err := h.Run(ctx, RunOptions{
		Note:  func(s string) { notes = append(notes, s); stop() },
		Ended: func(r Result) { ended = append(ended, r.String()); stop() },
	}); err != nil {
		t.Fatal(err)
	}
	h.runs("one")
	if len(ended) != 1 || !strings.HasPrefix(ended[0], "updated: web01 runs release 1") || len(notes) != 0 {
		t.Errorf("ended %q, notes %q", ended, notes)
	}
}

func TestAnOverdueCheckIsMadeAtOnceAndAClockSetBackDoesNotStopThem(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, last := range map[string]time.Time{"never": {}, "long ago": now.Add(-48 * time.Hour),
		"in the future": now.Add(48 * time.Hour)} {
		if d := pace.DueIn(now, last, time.Hour); d < 0 || d > time.Minute {
			t.Errorf("last check %s: due in %s", name, d)
		}
	}
	if d := pace.DueIn(now, now, time.Hour); d < 54*time.Minute || d > 66*time.Minute {
		t.Errorf("last check now: due in %s", d)
	}
}
