package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const (
	day    = 24 * time.Hour
	hourly = ", and one is due every 1h0m0s: is the service running?"
)

// healthy is a host that runs what it should, checked a minute ago.
func healthy() *Status {
	return &Status{Agent: "1.2.3", Host: "web01", Server: "https://b.example", Registered: true,
		RegisteredAt: noon.Add(-30 * day), Interval: schema.Duration(time.Hour),
		LastTry: noon.Add(-time.Minute), LastCheck: noon.Add(-time.Minute), LastUpdate: noon.Add(-7 * day),
		Last:      cycle.Outcome{State: schema.StateCurrent, Code: schema.CodeCurrent, Why: "up to date", Target: pkg},
		Installed: &cycle.Installed{Package: pkg, Release: 7, Name: "acme", Version: "1.0", Format: schema.Deb}}
}

var pkg = schema.DigestOf([]byte("package"))

func failed(s *Status, code, why string) {
	s.Last = cycle.Outcome{State: schema.StateFailed, Code: code, Error: why, Target: pkg}
}

func TestTheSeverityOfAHost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bend func(s *Status)
		want Severity
		why  string // of the first reason; empty: there is none
	}{
		"runs what it should": {func(*Status) {}, OK, ""},
		"never updated yet": {func(s *Status) {
			*s = Status{Registered: true, RegisteredAt: noon.Add(-time.Minute)}
			s.Last.State = schema.StateNew
		}, OK, ""},
		"not registered": {func(s *Status) { s.Registered, s.Problem = false, "this host is not registered" },
			Warning, "this host is not registered"},
		"settings that no update can work with": {func(s *Status) { s.Problem = "no keys" }, Critical, "no keys"},
		"another machine":                       {func(s *Status) { s.Elsewhere = "a copy" }, Warning, "a copy"},
		"a release that failed here": {func(s *Status) {
			failed(s, outcome.CodeUnhealthy, "ill")
		}, Warning, "failed: ill"},
		"a condition of the host": {func(s *Status) {
			failed(s, outcome.CodeHost, "disk full")
		}, Warning, "failed: disk full"},
		"something that did not verify": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateRefused, Code: outcome.CodeUnverified, Error: "forged"}
		}, Critical, "refused: forged"},
		"switched off by the operator": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: schema.CodeDisabled, Why: "off"}
		}, OK, ""},
		"rolled back by its administrator": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: outcome.CodeRolledBack, Why: "manually"}
		}, OK, ""},
		"changed files that a rule leaves": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: outcome.CodeDrift, Why: "/etc/x"}
		}, Warning, "held: /etc/x"},
		"a server that does not know the host": {func(s *Status) {
			failed(s, outcome.CodeRejected, "401")
		}, Warning, "failed: 401"},
		"a server unreachable for a day": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.HeldSince = noon.Add(-day)
		}, OK, "failed: no route (a warning from 2026-03-03T12:00:00Z on)"},
		"a server unreachable for three days and more": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.HeldSince = noon.Add(-3*day - time.Second)
		}, Warning, "failed: no route, since 2026-02-26T11:59:59Z"},
		"unreachable since nobody knows when, last asked days ago": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.LastCheck = noon.Add(-4 * day)
		}, Warning, "failed: no route, since 2026-02-25T12:00:00Z"},
		"held back by its server for a day": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: outcome.CodeServerHold, Why: "gate"}
			s.HeldSince = noon.Add(-day)
		}, OK, "held: gate (a warning from 2026-03-03T12:00:00Z on)"},
		"held back for longer than the fleet allows": {func(s *Status) { s.Critical = "held back since" },
			Critical, "held back since"},
		"not tried for three intervals": {func(s *Status) {
			s.LastTry = noon.Add(-3 * time.Hour)
			s.LastCheck = s.LastTry
		}, OK, ""},
		"not tried for longer": {func(s *Status) {
			s.LastTry = noon.Add(-3*time.Hour - time.Second)
			s.LastCheck = s.LastTry
		}, Warning, "overdue: no update since 2026-03-01T08:59:59Z" + hourly},
		"tried all the time, with nobody answering": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.LastCheck, s.HeldSince = noon.Add(-2*day), noon.Add(-2*day)
		}, OK, "failed: no route (a warning from 2026-03-02T12:00:00Z on)"},
		"checks each minute, and not for 15": {func(s *Status) {
			s.Interval = schema.Duration(time.Minute)
			s.LastTry = noon.Add(-15 * time.Minute)
			s.LastCheck = s.LastTry
		}, OK, ""},
		"checks each minute, and not for more": {func(s *Status) {
			s.Interval = schema.Duration(time.Minute)
			s.LastTry = noon.Add(-16 * time.Minute)
			s.LastCheck = s.LastTry
		}, Warning, "overdue: no update since 2026-03-01T11:44:00Z, and one is due every 1m0s: is the " +
			"service running?"},
		"registered long ago, and no service": {func(s *Status) { s.LastTry, s.LastCheck = time.Time{}, time.Time{} },
			Warning, "overdue: no update since 2026-01-30T12:00:00Z" + hourly},
		"a clock that was set back": {func(s *Status) { s.LastTry = noon.Add(day) }, OK, ""},
	} {
		s := healthy()
		c.bend(s)
		s.Judge(noon)
		first := strings.Join(s.Reasons[:min(1, len(s.Reasons))], "")
		if s.Severity != c.want || first != c.why {
			t.Errorf("%s: %s, %q; want %s, %q", name, s.Severity, first, c.want, c.why)
		}
	}
}

func TestEveryOutcomeThatIsNotTheServersIsJudgedAtOnce(t *testing.T) {
	t.Parallel()
	for _, code := range outcome.Codes() {
		s := healthy()
		failed(s, code, "why")
		s.HeldSince = noon.Add(-day)
		s.Judge(noon)
		central := outcome.ClassOf(code) == outcome.Server && code != outcome.CodeRejected && code != outcome.CodeBroken
		if (s.Severity == OK) != central {
			t.Errorf("%s: %s", code, s.Severity)
		}
	}
}

// files are those of a host that is registered, as its own root.
func files(t *testing.T) state.Files {
	t.Helper()
	f := state.Files{Root: t.TempDir(), Now: func() time.Time { return noon }}
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	r := &state.Record{Schema: state.RecordSchema, Registration: &state.Registration{
		Server: "https://b.example", Host: "web01", Secret: "s3cr3t-of-the-host", At: noon}}
	r.Last = cycle.Outcome{State: schema.StateFailed, Code: outcome.CodeBroken, Error: "they say s3cr3t-of-the-host"}
	if err := f.Write(r); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestASummaryHasNoSecretEvenIfAServerPutsItIntoAnError(t *testing.T) {
	t.Parallel()
	f := files(t)
	if err := Publish(f, "1.2.3", nil); err != nil {
		t.Fatal(err)
	}
	s, err := readSummary(f)
	if err != nil || s == nil || s.Last.Error != "they say (hidden)" || s.Host != "web01" {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestASummaryThatNobodyWritesAnyMoreBecomesOverdue(t *testing.T) {
	t.Parallel()
	f := files(t)
	if err := Publish(f, "1.2.3", errors.New("no space")); err != nil {
		t.Fatal(err)
	}
	s, err := readSummary(f)
	if err != nil || s.Severity == OK || s.Overdue != "" || s.Last.Error != "no space" {
		t.Fatalf("%v, %+v", err, s)
	}
	s.Judge(noon.Add(day))
	if s.Overdue == "" {
		t.Errorf("%+v", s)
	}
}
