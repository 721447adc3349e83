package report

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/schema/plain"
)

// section is Checkmk's section cmk_update_agent_status, as its parser has it. Hashes are 16 hex digits, always text.
type section struct {
	Hash       *string                `json:"aghash"`
	Error      *string                `json:"error"`
	LastCheck  *float64               `json:"last_check"` // seconds of the epoch
	LastUpdate *float64               `json:"last_update"`
	Pending    *string                `json:"pending_hash"`
	URL        *string                `json:"update_url"`
	Host       *string                `json:"host_name"` // where it is not the monitored name, Checkmk says so
	Certs      map[string]certificate `json:"trusted_certs"`
}

type certificate struct {
	Corrupt   bool    `json:"corrupt"`
	NotAfter  *string `json:"not_after"` // with an offset in digits: older Pythons read no Z
	Algorithm *string `json:"signature_algorithm"`
	Name      string  `json:"common_name"`
}

// noEnd is the expiry of what does not expire: the parser wants one. A day before the end of its calendar, it is a
// date in every time zone.
const noEnd = "9999-12-30T23:59:59+00:00"

// Phrases of errors that Checkmk has states of their own for, which its users set.
const (
	phraseGlobal = "deployment is currently globally disabled"
	phraseHost   = "agent updates are disabled for host "
)

// Section writes s as Checkmk's agent sections.
func (s *Status) Section(w io.Writer) error {
	out := section{Error: text(line(s.sectionError())),
		LastCheck: epoch(s.LastCheck), LastUpdate: epoch(s.LastUpdate),
		URL: text(s.Server), Host: text(s.Host), Certs: map[string]certificate{}}
	var installed schema.Digest
	if s.Installed != nil {
		installed = s.Installed.Package
	}
	out.Hash = hash(installed)
	if s.Last.Target != installed {
		out.Pending = hash(s.Last.Target)
	}
	for i, k := range s.Keys {
		c := certificate{Corrupt: k.State == schema.KeyCorrupt, Algorithm: text(k.Algorithm), Name: k.Name}
		if !c.Corrupt {
			c.NotAfter = text(noEnd)
			if !k.Expires.IsZero() {
				c.NotAfter = text(k.Expires.UTC().Format("2006-01-02T15:04:05-07:00"))
			}
		}
		out.Certs[strconv.Itoa(i)] = c
	}
	b, err := json.Marshal(out)
	if err != nil {
		return err
	}
	lines := "<<<cmk_update_agent_status:sep(0)>>>\n" + string(b) + "\n"
	switch s.Last.Code {
	case outcome.CodeUnhealthy, outcome.CodeInstall, schema.CodeFailed: // a release failed here
		runs := "no package is installed"
		if s.Installed != nil {
			runs = "going on with " + s.Installed.Name + " " + s.Installed.Version
		}
		lines += "<<<check_mk>>>\nUpdateFailed: " + line(s.Last.Error) + "\n" +
			"UpdateRecoverAction: " + line(runs) + "\n"
	}
	_, err = io.WriteString(w, lines)
	return err
}

// sectionError is what Checkmk is told of as an error; empty: nothing. What is no fault of this host is none yet.
func (s *Status) sectionError() string {
	switch s.Last.Code {
	case schema.CodeDisabled:
		return phraseGlobal + ": " + s.Last.Why
	case schema.CodeNotSelected:
		return phraseHost + s.Host + ": " + s.Last.Why
	}
	if s.Paused != nil && s.Severity == OK {
		return phraseHost + s.Host + ": " + s.Paused.String()
	}
	if s.Severity == OK {
		return ""
	}
	return s.why()
}

// why is the severity's reasons, and for a host that is not registered the command to run.
func (s *Status) why() string {
	why := strings.Join(s.Reasons, "; ")
	if !s.Registered && s.Hint != "" {
		why += ": " + s.Hint
	}
	return why
}

func hash(d schema.Digest) *string {
	if d.IsZero() {
		return nil
	}
	return text(d.Short())
}

func epoch(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	seconds := float64(t.UnixMilli()) / 1000
	return &seconds
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func line(s string) string { return plain.Line(s, plain.MaxError) }
