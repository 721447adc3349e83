package command

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/schema/fleet"
)

// diagnosticFormats are the ways to write what was found: result on out, what is beside it on log.
var diagnosticFormats = map[string]func(d *desired.Diagnosis, out, log io.Writer) error{
	"text": textDiagnosis, "json": jsonDiagnosis, "github": githubDiagnosis, "gitlab": gitlabDiagnosis,
}

func textDiagnosis(d *desired.Diagnosis, out, log io.Writer) error {
	var errs fleet.Problems
	for _, f := range d.Diagnostics {
		if f.Level == desired.Error {
			errs = append(errs, f.Problem)
			continue
		}
		fmt.Fprintf(log, "bakehouse: %s: %v\n", f.Level, f.Problem)
		if f.Hint != "" {
			console.Hint(log, "%s", f.Hint)
		}
	}
	if len(errs) > 0 {
		_, err := fmt.Fprintln(out, errs)
		return err
	}
	return okLine(d, out)
}

// ok is the last line, in words.
func okLine(d *desired.Diagnosis, w io.Writer) error {
	s := d.Summary
	if s == nil {
		return nil
	}
	retired := ""
	if s.Retired > 0 {
		retired = fmt.Sprintf(", %d retired", s.Retired)
	}
	_, err := fmt.Fprintf(w, "ok: %s: %s%s, %s, %s of its own, %s\n", d.State, console.Count(s.Hosts, "host"), retired,
		console.Count(s.Recipes, "recipe"),
		console.Count(s.Plugins, "plugin"), console.Count(s.Keys, "key"))
	return err
}

func jsonDiagnosis(d *desired.Diagnosis, out, _ io.Writer) error {
	type place struct {
		File   string `json:"file"`
		Line   int    `json:"line,omitempty"`
		Column int    `json:"column,omitempty"`
	}
	type one struct {
		Level   string  `json:"level"`
		Message string  `json:"message"`
		Hint    string  `json:"hint,omitempty"`
		Place   place   `json:"place"`
		Also    []place `json:"also,omitempty"`
	}
	all := struct {
		OK       bool             `json:"ok"`
		Checked  string           `json:"checked"`
		Findings []one            `json:"findings"`
		Summary  *desired.Summary `json:"summary,omitempty"`
	}{d.Errors() == 0, d.State, []one{}, d.Summary}
	for _, f := range d.Diagnostics {
		o := one{Level: f.Level, Message: f.Msg, Hint: f.Hint, Place: place{f.Pos.File, f.Pos.Line, f.Pos.Col}}
		for _, p := range f.Also {
			o.Also = append(o.Also, place{p.File, p.Line, p.Col})
		}
		all.Findings = append(all.Findings, o)
	}
	return console.WriteJSON(out, all)
}

// github writes workflow commands, which GitHub shows at the lines of a pull request. Names and values of the repo
// stand in them, and could be commands of their own were they not escaped.
func githubDiagnosis(d *desired.Diagnosis, out, log io.Writer) error {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	var b strings.Builder
	for _, f := range d.Diagnostics {
		fmt.Fprintf(&b, "::%s ", f.Level)
		message := f.Problem
		if at := f.Pos; inRepo(at) {
			fmt.Fprintf(&b, "file=%s,", property.Replace(at.File))
			if at.Line > 0 {
				fmt.Fprintf(&b, "line=%d,", at.Line)
			}
			if at.Col > 0 {
				fmt.Fprintf(&b, "col=%d,", at.Col)
			}
			message.Pos = fleet.Pos{}
		}
		text := message.Error()
		if f.Hint != "" {
			text += "\nhint: " + f.Hint
		}
		fmt.Fprintf(&b, "title=bakehouse::%s\n", data.Replace(text))
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return err
	}
	return okLine(d, log)
}

// inRepo reports whether p is in a file that the reader can open.
func inRepo(p fleet.Pos) bool { return p.File != "" && !strings.HasPrefix(p.File, "bakehouse:") }

// gitlab writes a code quality report. A fingerprint stays when lines move, so that GitLab tells new findings from old.
func gitlabDiagnosis(d *desired.Diagnosis, out, log io.Writer) error {
	type begin struct {
		Begin int `json:"begin"`
	}
	type location struct {
		Path  string `json:"path"`
		Lines begin  `json:"lines"`
	}
	type issue struct {
		Description string   `json:"description"`
		CheckName   string   `json:"check_name"`
		Fingerprint string   `json:"fingerprint"`
		Severity    string   `json:"severity"`
		Location    location `json:"location"`
	}
	severity := map[string]string{desired.Error: "critical", desired.Warning: "minor", desired.Notice: "info"}
	issues := []issue{}
	seen := map[string]int{}
	for _, f := range d.Diagnostics {
		at, message := f.Pos, f.Problem
		if inRepo(at) {
			message.Pos = fleet.Pos{}
		} else {
			at = fleet.Pos{File: "fleet.cue"} // GitLab drops issues that are nowhere
		}
		key := f.Level + "\x00" + at.File + "\x00" + f.Msg
		sum := sha256.Sum256(fmt.Append(nil, key, "\x00", seen[key]))
		seen[key]++
		text := message.Error()
		if f.Hint != "" {
			text += "; hint: " + f.Hint
		}
		issues = append(issues, issue{text, "bakehouse-check", fmt.Sprintf("%x", sum), severity[f.Level],
			location{at.File, begin{max(1, at.Line)}}})
	}
	if err := console.WriteJSON(out, issues); err != nil {
		return err
	}
	return okLine(d, log)
}
