// Package tidy bounds what hosts say of themselves and takes out what could harm whoever looks at it later, before a
// server keeps it, logs it or shows it.
package tidy

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"bakehouse/schema"
)

var states = []string{schema.StateNew, schema.StateCurrent, schema.StateHeld, schema.StateRefused, schema.StateFailed}

// Report bounds a report and takes out what could harm whoever looks at it later.
func Report(r schema.Report) schema.Report {
	r.Agent = Clean(r.Agent, 64)
	r.Code = Clean(r.Code, 40)
	r.Error = Clean(r.Error, 2000)
	if !slices.Contains(states, r.State) {
		r.State = Clean(r.State, 20)
	}
	if !r.Recipe.Valid() {
		r.Recipe = ""
	}
	if len(r.Machine) > 16 || strings.Trim(r.Machine, "0123456789abcdef") != "" {
		r.Machine = ""
	}
	r.Release, r.Fetched = max(0, r.Release), max(0, r.Fetched)
	if r.Details != nil {
		r.Details = tidyDetails(*r.Details)
	}
	return r
}

// tidyDetails bounds counts and lengths too: a host may not fill the inventory.
func tidyDetails(d schema.Details) *schema.Details {
	d.Interval = max(0, d.Interval)
	d.Keys = slices.Clone(d.Keys[:min(len(d.Keys), schema.MaxKeys)])
	for i, k := range d.Keys {
		d.Keys[i].Name, d.Keys[i].State = Clean(k.Name, 100), Clean(k.State, 20)
	}
	d.Ignored = slices.Clone(d.Ignored[:min(len(d.Ignored), schema.MaxIgnored)])
	for i, s := range d.Ignored {
		d.Ignored[i] = schema.IgnoredSignature{Key: Clean(s.Key, 100), Reason: Clean(s.Reason, 200)}
	}
	lines := strings.Split(strings.ToValidUTF8(tail(d.LogTail, schema.MaxLogTail), "?"), "\n")
	for i := range lines {
		lines[i] = Clean(lines[i], schema.MaxLogTail)
	}
	d.LogTail = tail(strings.Join(lines, "\n"), schema.MaxLogTail)
	d.Drift = Clean(d.Drift, schema.MaxDrift)
	d.Stopped = slices.Clone(d.Stopped[:min(len(d.Stopped), schema.MaxStopped)])
	for i, unit := range d.Stopped {
		d.Stopped[i] = Clean(unit, 300)
	}
	if p := d.Paused; p != nil {
		d.Paused = &schema.Pause{Since: p.Since, Until: p.Until, Reason: Clean(p.Reason, 300)}
	}
	if d.Log != nil {
		d.Log = &schema.TreeHead{Size: max(0, d.Log.Size), Root: d.Log.Root}
	}
	return &d
}

// Clean makes text from outside fit for a log or a page: valid UTF-8 of at most limit bytes, with spaces for control
// and other invisible characters.
func Clean(s string, limit int) string {
	s = Cut(strings.ToValidUTF8(s, "?"), limit)
	return strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// tail is the end of s, of at most limit bytes, without splitting a character.
func tail(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	s = s[len(s)-limit:]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}

// Cut shortens s to at most limit bytes without splitting a character.
func Cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}
