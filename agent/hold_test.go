package agent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/report"
	"bakehouse/agent/state"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

const day = 24 * time.Hour

func (h *host) status() *report.Status {
	h.t.Helper()
	s, err := h.Status()
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// lastReport is what the server was told last.
func lastReport(t *testing.T, f *testfleet.Fleet) schema.Report {
	t.Helper()
	reports := f.Reports()
	return reports[len(reports)-1].Report
}

func TestAHostThatItsServerHoldsForLongerThanTheFleetAllowsIsCriticalAndInstallsNothing(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.MaxHold = schema.Duration(30 * day)
	f.Give("web01", p)
	f.Hold("gate closed")
	verified := h.stateOf().Timestamp
	for week := range 5 {
		if r := h.update(); r.State != schema.StateHeld || r.Code != outcome.CodeServerHold || r.Critical != "" {
			t.Errorf("week %d: %s", week, r)
		}
		// Metadata are refreshed all the while.
		if now := h.stateOf().Timestamp; now <= verified {
			t.Errorf("week %d: timestamp %d is verified, %d was before", week, now, verified)
		} else {
			verified = now
		}
		h.Agent = h.start(f) // as after a reboot
		f.Pass(7 * day)
		f.Publish()
	}
	r := h.update()
	const want = "held back since 2026-03-01T12:00:00Z (server-hold), longer than the 30d that the fleet allows"
	if r.Critical != want || !strings.HasPrefix(r.String(), "critical: "+want+"; held: web01 runs release 1") {
		t.Errorf("after 35 days: %s", r)
	}
	s := h.status()
	var text strings.Builder
	if err := s.Print(&text); err != nil || s.Critical != want || s.Err() == nil ||
		fault.ExitCode(s.Err()) != fault.ExitError || !strings.Contains(text.String(), "critical     "+want) {
		t.Errorf("status %+v, %v\n%s", s, s.Err(), &text)
	}
	if last := lastReport(t, f); !last.Critical || !last.HeldSince.Equal(f.Now().Add(-35*day)) ||
		last.State != schema.StateHeld {
		t.Errorf("reported %+v", last)
	}
	h.runs("one")
	f.Hold("")
	f.Publish()
	if r := h.update(); r.Critical != "" {
		t.Errorf("let go: %s", r)
	}
	h.runs("two")
	if s, last := h.status(), lastReport(t, f); s.Err() != nil || last.Critical || !last.HeldSince.IsZero() {
		t.Errorf("let go: %+v, reported %+v", s, last)
	}
}

func TestWhatTheOperatorSignedIsNoHoldHoweverLong(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(f *testfleet.Fleet, p *trusttest.Package){
		"master switch": func(f *testfleet.Fleet, p *trusttest.Package) { f.Policy.Enabled = false; f.Give("web01", p) },
		"not selected": func(f *testfleet.Fleet, p *trusttest.Package) {
			f.Give("web01", p, func(target *schema.Target) { target.Selected = false })
		},
		"no ring": func(f *testfleet.Fleet, p *trusttest.Package) {
			f.Give("web01", p, func(target *schema.Target) { target.Ring = "" })
		},
		"ring delay": func(f *testfleet.Fleet, p *trusttest.Package) {
			f.Policy.Rings[0].Delay = schema.Duration(365 * day)
			f.Give("web01", p)
		},
		"revoked": func(f *testfleet.Fleet, p *trusttest.Package) {
			f.Give("web01", p, func(target *schema.Target) {
				f.Policy.Revoked = []schema.Digest{p.Manifest.SHA256, target.Older[0].SHA256}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, h, p := attacked(t)
			f.Policy.MaxHold = schema.Duration(day)
			give(f, p)
			for range 3 {
				if r := h.update(); r.State != schema.StateHeld || r.Critical != "" {
					t.Errorf("%s", r)
				}
				f.Pass(3 * day)
				f.Publish()
			}
			h.runs("one")
		})
	}
}

func TestAServerThatIsAwayOrRefusedForLongerThanTheFleetAllowsIsCriticalToo(t *testing.T) {
	t.Parallel()
	for code, bend := range map[string]func(w http.ResponseWriter, r *http.Request) bool{
		outcome.CodeUnreachable: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
		outcome.CodeRejected: func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(schema.Problem{Error: "the host is not registered here"})
			return true
		},
		outcome.CodeUnverified: func(w http.ResponseWriter, r *http.Request) bool {
			json.NewEncoder(w).Encode(schema.PollAnswer{Schema: 1, Root: 1, Files: stamped([]byte("{}"))})
			return true
		},
		outcome.CodeExpired: func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusNoContent)
			return true
		},
	} {
		t.Run(code, func(t *testing.T) {
			f, h, p := attacked(t)
			f.Policy.MaxHold = schema.Duration(2 * day)
			f.Publish()
			h.update()
			f.Give("web01", p)
			f.Bend(bend)
			if code == outcome.CodeExpired {
				f.Pass(7 * day)
			}
			for i, critical := range []bool{false, false, true} {
				r, err := h.Update(t.Context(), UpdateOptions{})
				if err == nil || r.Code != code || (r.Critical != "") != critical {
					t.Errorf("day %d: %v, %s", 2*i, err, r)
				}
				f.Pass(2 * day)
			}
			h.runs("one")
			f.Publish()
			h.recovers(f, "two")
		})
	}
}

func TestATimestampOlderThanOneSeenIsASiteThatIsBehind(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	old := f.Head()
	f.Give("web01", p)
	h.update()
	f.Publish()
	h.update()
	f.Replay(old)
	f.Replay(old)
	r := h.update()
	if r.State != schema.StateHeld || r.Code != outcome.CodeSiteBehind || r.Package.Release != 2 ||
		!strings.Contains(r.String(), "the site is behind by 2 versions: it offers timestamp 2, and 4 was verified "+
			"before; by the metadata on this host: up to date") {
		t.Errorf("replayed: %s", r)
	}
	if last := lastReport(t, f); last.State != schema.StateHeld || last.Code != outcome.CodeSiteBehind {
		t.Errorf("reported %+v", last)
	}
	if root, timestamp := h.stateOf().Root, h.stateOf().Timestamp; root != 1 || timestamp != 4 {
		t.Errorf("timestamp %d and root %d are held", timestamp, root)
	}
	h.runs("two")
	// What is held expires as ever: a site cannot freeze a host by staying behind.
	f.Pass(8 * day)
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeExpired ||
		r.State != schema.StateHeld {
		t.Errorf("behind for 8 days: %v, %s", err, r)
	}
	f.Publish()
	f.Publish()
	f.Publish()
	if r := h.update(); r.State != schema.StateCurrent {
		t.Errorf("caught up: %s", r)
	}
}

func TestBehindItsSiteAHostStillInstallsWhatItHolds(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	old := f.Head()
	f.Policy.Rings[0].Delay = schema.Duration(day)
	f.Give("web01", p)
	if r := h.update(); r.Code != schema.CodeWaiting {
		t.Fatalf("within the delay: %s", r)
	}
	f.Replay(old)
	f.Pass(day)
	h.update()
	h.runs("two")
}

func TestAnOlderTimestampThatIsForgedIsRefused(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	old := f.Head()
	f.Give("web01", p)
	h.update()
	f.Replay([]byte(strings.Replace(string(old), `"version":2`, `"version":1`, 1)))
	h.refused("timestamp.json")
	f.Publish()
	f.Publish()
	h.update()
	h.runs("two")
}

// A whole answer of long ago: it names fewer roots than the host has, an older timestamp, and a hold that was lifted.
func TestAPollAnswerThatIsReplayedTakesNothingBack(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	answer, err := json.Marshal(schema.PollAnswer{Schema: 1, Root: 0, Files: stamped(f.Head()), Hold: "gate closed",
		Site: "../elsewhere"})
	if err != nil {
		t.Fatal(err)
	}
	f.Give("web01", p)
	h.update()
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == schema.PollPath {
			w.Write(answer)
		}
		return r.URL.Path == schema.PollPath
	})
	if r := h.update(); r.Code != outcome.CodeSiteBehind || r.Package.Release != 2 {
		t.Errorf("replayed: %s", r)
	}
	if s := h.stateOf(); s.Registration.Site != "central" || s.Root != 1 || s.Timestamp != 3 {
		t.Errorf("state %+v", s)
	}
	three := version(f, "three")
	f.Give("web01", three)
	h.recovers(f, "three")
}

func TestAClockAtTheEndOfTheCenturyHoldsTheHostAndPoisonsNothing(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.MaxHold = schema.Duration(30 * day)
	f.Give("web01", p)
	// The test server's certificate has expired by then too, which is another way to the same end (agent/wire).
	late := time.Date(2080, 1, 1, 0, 0, 0, 0, time.UTC)
	h.opts.Now = func() time.Time { return late }
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.State != schema.StateHeld || r.Code != outcome.CodeExpired ||
		!strings.Contains(r.Error, "the clock here says 2080-01-01T00:00:00Z") ||
		!strings.Contains(fault.HintOf(err), "clock") {
		t.Errorf("%v (%s), %s", err, fault.HintOf(err), r)
	}
	h.runs("one")
	if s := h.stateOf(); s.Withheld == nil || !s.Withheld.Since.Equal(late) {
		t.Errorf("withheld %+v", s.Withheld)
	}
	h.opts.Now = f.Now
	f.Hold("gate closed")
	if r := h.update(); r.Critical != "" {
		t.Errorf("clock set right: %s", r)
	}
	if s := h.stateOf(); !s.Withheld.Since.Equal(f.Now()) {
		t.Errorf("withheld %+v", s.Withheld)
	}
	f.Hold("")
	h.update()
	h.runs("two")
	if s := h.stateOf(); s.Withheld != nil || !s.LastCheck.Equal(f.Now()) || !s.LastUpdate.Equal(f.Now()) ||
		!s.Installed.At.Equal(f.Now()) {
		t.Errorf("what was written in 2080 stays: %+v", s)
	}
}

func TestAServersCertificateIsJudgedByTheTimeThatIsBelieved(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Give("web01", p)
	late := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	h.opts.Now = func() time.Time { return late }
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeUnreachable ||
		!strings.Contains(err.Error(), "has expired (the clock here says 2100-01-01T00:00:00Z)") ||
		!strings.Contains(fault.HintOf(err), "check this host's clock") {
		t.Errorf("%v (%s), %s", err, fault.HintOf(err), r)
	}
	h.opts.Now = f.Now
	// Before any certificate began, but the host holds policy that was issued later.
	h.opts.Now = func() time.Time { return time.Unix(-1, 0) }
	h.update()
	h.runs("two")
}

func TestTheProgramBeforeReadsTheStateOfThisOne(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.MaxHold = schema.Duration(day)
	f.Give("web01", p)
	f.Hold("gate closed")
	h.update()
	var before struct {
		Schema       int
		Registration *state.Registration
		Installed    *cycle.Installed
		Failed       []int64
		Hold         string
		LastCheck    time.Time
		Last         cycle.Outcome
	}
	if err := schema.Decode([]byte(h.reads(schema.StateDir(runtime.GOOS)+"/"+state.RecordFile)), &before); err != nil ||
		before.Schema != 1 || before.Hold != "gate closed" || before.Registration.Host != "web01" ||
		before.Installed.Release != 1 || before.Last.Code != outcome.CodeServerHold {
		t.Errorf("%v: it reads %s", err, fmt.Sprintf("%+v", before))
	}
}

func TestNoAnswerOfAServerEndsTheAlarm(t *testing.T) {
	t.Parallel()
	answers := map[string]func(w http.ResponseWriter){
		"404":                 func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"a status of nothing": func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) },
		"no JSON":             func(w http.ResponseWriter) { fmt.Fprint(w, "<html>") },
		"no gzip": func(w http.ResponseWriter) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "{}")
		},
		"a range of nothing": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "x")
			w.WriteHeader(http.StatusPartialContent)
		},
		"nothing":               func(http.ResponseWriter) {},
		"an answer that breaks": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	}
	for _, path := range []string{schema.PollPath, schema.ManifestPath, schema.SegmentPath} {
		for name, answer := range answers {
			t.Run(path+" "+name, func(t *testing.T) {
				t.Parallel()
				f, h, p := attacked(t)
				f.Policy.MaxHold = schema.Duration(2 * day)
				f.Publish()
				h.update()
				f.Give("web01", p)
				f.Bend(func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasPrefix(r.URL.Path, path) {
						return false
					}
					answer(w)
					return true
				})
				for i, critical := range []bool{false, false, true} {
					r, err := h.Update(t.Context(), UpdateOptions{})
					if err == nil || (r.Critical != "") != critical {
						t.Errorf("day %d: %v, %s", 2*i, err, r)
					}
					f.Pass(2 * day)
				}
			})
		}
	}
}
