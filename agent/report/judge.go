package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// Severity is how a host is, in the exit codes that Nagios gave to monitoring.
type Severity int

// Severities.
const (
	OK Severity = iota
	Warning
	Critical
	Unknown // the status cannot be read
)

var severities = []string{"ok", "warning", "critical", "unknown"}

func (s Severity) String() string               { return severities[s] }
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Severity) UnmarshalText(b []byte) error {
	i := slices.Index(severities, string(b))
	if i < 0 {
		return fmt.Errorf("unknown severity %q", b)
	}
	*s = Severity(i)
	return nil
}

// An update that was not tried for this many intervals, and for at least minOverdue, is overdue.
const (
	overdueIntervals = 3
	minOverdue       = 15 * time.Minute
)

// Judge says how the host is at the time now, and why.
func (s *Status) Judge(now time.Time) {
	s.Severity, s.Reasons, s.Overdue = OK, nil, s.overdue(now)
	add := func(severity Severity, why string) {
		if why != "" {
			s.Severity = max(s.Severity, severity)
			s.Reasons = append(s.Reasons, why)
		}
	}
	add(Critical, s.Critical)
	if s.Registered {
		add(Critical, s.Problem)
	} else {
		add(Warning, s.Problem)
	}
	add(Warning, s.Elsewhere)
	add(Warning, s.Overdue)
	add(s.ofLast(now))
	if s.Paused != nil && s.Paused.Ended(now) { // in a summary of before
		s.Paused = nil
	}
	if s.Paused != nil {
		add(OK, s.Paused.String())
	}
}

// ofLast judges the last outcome. What is signed is the operator's decision; what the host itself fails at is its own;
// of all else, which may be central, only what did not verify, or is about this host alone, is said at once.
func (s *Status) ofLast(now time.Time) (Severity, string) {
	last := s.Last
	why := last.State + ": " + cmp.Or(last.Error, last.Why, last.Code)
	switch {
	case last.State == schema.StateRefused:
		return Critical, why
	case last.State == schema.StateFailed && outcome.ClassOf(last.Code) != outcome.Server,
		last.Code == outcome.CodeDrift,
		last.Code == outcome.CodeRejected, last.Code == outcome.CodeBroken:
		return Warning, why
	case last.Code == "" || outcome.ClassOf(last.Code) != outcome.Server:
		return OK, ""
	}
	since := s.HeldSince
	if since.IsZero() {
		since = latest(s.LastCheck, s.RegisteredAt)
	}
	until := since.Add(cmp.Or(time.Duration(s.UnreachableAfter), schema.DefaultUnreachableAfter))
	if now.After(until) {
		return Warning, fmt.Sprintf("%s, since %s", why, when(since))
	}
	return OK, fmt.Sprintf("%s (a warning from %s on)", why, when(until))
}

// overdue says that the service does not do its work. Whether a server could be reached makes no difference.
func (s *Status) overdue(now time.Time) string {
	tried := latest(s.LastTry, s.LastCheck, s.RegisteredAt)
	limit := max(overdueIntervals*time.Duration(s.Interval), minOverdue)
	if !s.Registered || tried.IsZero() || now.Sub(tried) <= limit {
		return ""
	}
	return fmt.Sprintf("overdue: no update since %s, and one is due every %s: is the service running?",
		when(tried), s.Interval)
}

func latest(times ...time.Time) time.Time { return slices.MaxFunc(times, time.Time.Compare) }
