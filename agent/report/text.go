package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"bakehouse/schema"
)

// JSON writes s for programs.
func (s *Status) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// Print writes s for people, on one screen.
func (s *Status) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	given := func(name, value string) {
		if value != "" {
			row(name, "%s", value)
		}
	}
	if s.Registered {
		row("host", "%s", s.Host)
	} else {
		row("host", "not registered")
	}
	row("severity", "%s", s.Severity)
	row("server", "%s", cmp.Or(s.Server, "none"))
	if s.LastWay != "" {
		row("last way", "%s (tried until the present settings have worked)", s.LastWay)
	} else {
		given("reached by", s.Way)
	}
	given("site", s.Site)
	row("state", "%s", s.Last.State)
	given("why", cmp.Or(s.Last.Error, s.Last.Why))
	if s.Paused != nil {
		row("paused", "%s (bakehouse-agent resume ends it)", s.Paused)
	}
	given("critical", s.Critical)
	given("overdue", strings.TrimPrefix(s.Overdue, "overdue: "))
	row("installed", "%s", s.Installed)
	given("differs", s.Differs)
	for _, unit := range s.Stopped {
		row("service", "%s by an administrator, and it stays so", unit)
	}
	if s.Pending != nil {
		row("interrupted", "%s", s.Pending)
	}
	row("previous", "%s", s.Previous)
	row("target", "%s", short(s.Last.Target))
	for _, f := range s.Failed {
		row("failed here", "release %d", f)
	}
	if s.Waiting != nil {
		row("tries again", "%s: %s", when(s.Waiting.Next), s.Waiting.Why)
	}
	row("last check", "%s", when(s.LastCheck))
	row("last update", "%s", when(s.LastUpdate))
	row("next check", "%s", when(s.NextCheck))
	row("verified", "timestamp %d, root %d", s.Timestamp, s.Root)
	for _, k := range s.Keys {
		until := ""
		if !k.Expires.IsZero() {
			until = ", until " + k.Expires.UTC().Format(time.DateOnly)
		}
		row("accepts key", "%s: %s%s", k.Name, k.State, until)
	}
	row("program", "%s", s.Agent)
	given("machine", s.Elsewhere)
	given("problem", s.Problem)
	given("hint", s.Hint)
	return t.Flush()
}

func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

func short(d schema.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.Short()
}
