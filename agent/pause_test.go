package agent

import (
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/report"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

func TestAPauseIsReportedInstallsNothingAndEndsByItself(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	until := f.Now().Add(3 * time.Hour)
	if _, err := h.Pause(until, "moving\x1b[2J\nthe database"+strings.Repeat("x", 1000)); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "two"))
	for range 3 {
		if r := h.update(); r.State != schema.StateHeld || r.Code != outcome.CodePaused {
			t.Errorf("paused: %s", r)
		}
		h.runs("one")
		f.Pass(time.Hour - time.Second)
	}
	last := lastReport(t, f)
	if last.Code != outcome.CodePaused || last.Critical {
		t.Errorf("reported %+v", last)
	}
	if s := h.status(); s.Severity != report.OK || s.Paused == nil || !s.Paused.Until.Equal(until) {
		t.Errorf("%+v", s)
	}
	seen := false
	for _, r := range f.Reports() {
		if d := r.Report.Details; d != nil && d.Paused != nil {
			seen = true
			if p := d.Paused; !p.Until.Equal(until) || !strings.HasPrefix(p.Reason, "moving [2J; the database") ||
				len(p.Reason) > 400 {
				t.Errorf("reported %+v", p)
			}
		}
	}
	if !seen {
		t.Error("no report has the pause")
	}
	f.Pass(time.Minute)
	h.update()
	h.runs("two")
	if s := h.status(); s.Paused != nil {
		t.Errorf("%+v", s.Paused)
	}
	h.update()
	if p := h.stateOf().Paused; p != nil {
		t.Errorf("%+v", p)
	}
}

func TestAPauseSilencesNoAlarmAboutTheServer(t *testing.T) {
	t.Parallel()
	f, h, p := attacked(t)
	f.Policy.MaxHold = schema.Duration(day)
	f.Give("web01", p)
	f.Hold("gate")
	h.update()
	if _, err := h.Pause(time.Time{}, ""); err != nil {
		t.Fatal(err)
	}
	// The server's word comes first: a pause on the host does not silence it.
	f.Pass(2 * day)
	f.Publish()
	if r := h.update(); r.Code != outcome.CodeServerHold || r.Critical == "" {
		t.Errorf("held by the server: %s", r)
	}
	f.Hold("")
	f.Publish()
	if r := h.update(); r.Code != outcome.CodePaused || r.Critical != "" {
		t.Errorf("let go: %s", r)
	}
}
