package agent

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

func TestAHostSaysByWhichHoldOfItsServerItIsHeld(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.MaxHold = schema.Duration(day)
	f.Give("web01", p)
	for _, c := range []struct{ sent, code string }{{outcome.CodeGate, outcome.CodeGate}, {"halted", "halted"},
		{"rollout-paused", "rollout-paused"}, {"current", "server-hold"}, {"tomorrow", "server-hold"}} {
		f.HoldAs(c.sent, "ring broad waits for ring canary")
		r := h.update()
		if r.State != schema.StateHeld || r.Code != c.code ||
			r.Why != "the server holds this host back: ring broad waits for ring canary" {
			t.Errorf("%s: %s: %s", c.sent, r.Code, r)
		}
		if last := lastReport(t, f); last.Code != c.code || last.HeldSince.IsZero() {
			t.Errorf("%s: reported %+v", c.sent, last)
		}
	}
	f.Pass(2 * day) // whatever a server calls it, nobody signed it
	f.HoldAs(outcome.CodeGate, "ring broad waits for ring canary")
	f.Publish()
	if r := h.update(); r.Critical == "" {
		t.Errorf("for two days: %s", r)
	}
	f.HoldAs("", "")
	if r := h.update(); r.Code != outcome.CodeInstalled || r.Critical != "" {
		t.Errorf("let go: %s", r)
	}
}

func TestAServerMayAskForTheNextCheckSoonerAndNeverLater(t *testing.T) {
	t.Parallel()
	f, h, _ := attacked(t)
	pause := func() time.Duration {
		t.Helper()
		s, err := h.files.Load()
		if err != nil {
			t.Fatal(err)
		}
		return s.Pause()
	}
	for seconds, want := range map[int64]time.Duration{-1: time.Hour, 1: 67 * time.Second, 67: 67 * time.Second,
		600: 10 * time.Minute, 3601: time.Hour, 1 << 62: time.Hour} {
		f.Next(seconds)
		h.update()
		if got := pause(); got != want {
			t.Errorf("asked for %d s: %s, want %s", seconds, got, want)
		}
	}
	f.Next(600)
	h.update()
	f.Next(0) // one who does not ask any more
	h.update()
	if got := pause(); got != time.Hour {
		t.Errorf("asked no more: %s", got)
	}
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Retry-After", "240")
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(`{"error":"the server is busy"}`))
		return true
	})
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil {
		t.Error("a busy server is no error")
	}
	if s, err := h.files.Record(); err != nil || s.Asked != 240 {
		t.Errorf("a server that is busy: %d s, %v", s.Asked, err)
	}
}

func TestTheLoopComesWhenTheServerAsked(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		a := looping(t, root, true)
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		var at []time.Duration
		asks := []int64{1, 1, 1200, 1 << 40, 240, 240}
		err := a.Run(ctx, RunOptions{Update: func(context.Context) error {
			at = append(at, time.Since(began))
			if len(at) > len(asks) {
				stop()
				return nil
			}
			s, err := a.files.Record()
			if err != nil {
				t.Fatal(err)
			}
			s.Asked = asks[len(at)-1]
			busy := len(at) > 4
			if !busy {
				s.LastCheck = time.Now().UTC().Truncate(time.Second)
			}
			if err := a.files.Write(s); err != nil {
				t.Fatal(err)
			}
			if busy {
				return errors.New("the server is busy")
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{67 * time.Second, 67 * time.Second, 20 * time.Minute, time.Hour,
			4 * time.Minute, 8 * time.Minute} {
			if gap := at[i+1] - at[i]; gap < max(time.Minute, want*9/10-time.Second) || gap > want*11/10+time.Second {
				t.Errorf("checks %d and %d are %s apart, want about %s", i, i+1, gap, want)
			}
		}
	})
}
