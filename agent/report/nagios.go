package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Nagios writes s as a plug-in does: one line, the rest of which, after a |, is performance data in seconds.
func (s *Status) Nagios(w io.Writer) error {
	what := s.Host + " is not updated yet"
	if !s.Registered {
		what = "not registered"
	} else if i := s.Installed; i != nil {
		what = fmt.Sprintf("%s runs release %d, %s %s", s.Host, i.Release, i.Name, i.Version)
	}
	if why := s.why(); why != "" {
		what += "; " + why
	}
	_, err := fmt.Fprintf(w, "%s - %s | last_check=%ds last_update=%ds interval=%ds\n", nagiosName(s.Severity),
		nagiosText(what), unix(s.LastCheck), unix(s.LastUpdate),
		int64(time.Duration(s.Interval)/time.Second))
	return err
}

// NagiosUnknown writes that the status could not be read.
func NagiosUnknown(w io.Writer, why error) error {
	_, err := fmt.Fprintf(w, "%s - %s\n", nagiosName(Unknown), nagiosText(why.Error()))
	return err
}

func nagiosName(s Severity) string { return "BAKEHOUSE " + strings.ToUpper(s.String()) }

// nagiosText has no | of its own, and no second line.
func nagiosText(s string) string { return strings.ReplaceAll(line(s), "|", "/") }

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
