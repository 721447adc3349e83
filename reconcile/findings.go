package reconcile

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Levels of findings. Only errors stand in the way of a release.
const (
	levelError   = "error"
	levelWarning = "warning"
	levelNotice  = "notice"
)

// finding is one thing that `check` has to say.
type finding struct {
	level string
	fleet.Problem
}

func findings(level string, ps fleet.Problems) (out []finding) {
	for _, p := range ps {
		out = append(out, finding{level, p})
	}
	return out
}

// ofKeys lists the keys that expire soon: a notice from keyExpiry.warn on, a warning from critical on. Expiry strands no
// host: from then on reconcile does not sign with the key.
func ofKeys(f *fleet.Fleet, e schema.KeyExpiry, now time.Time) (out []finding) {
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		k, level := f.Keys[name], levelNotice
		left, end := k.Expires.Sub(now), k.Expires.UTC().Format(time.DateOnly)
		p := fleet.Problem{Pos: k.Pos, Hint: "add the key that follows it, and let hosts accept both before this one ends"}
		switch state := e.Of(k.Expires, now); {
		case !k.Retired.IsZero():
			continue
		case now.Before(k.NotBefore):
			p.Msg, p.Hint = fmt.Sprintf("key %s is valid from %s: reconcile does not sign with it before", k.Name, k.NotBefore.UTC().Format(time.DateOnly)), ""
		case state == schema.KeyFine:
			continue
		case state == schema.KeyExpired:
			level, p.Msg = levelWarning, fmt.Sprintf("key %s has expired on %s: reconcile does not sign with it", k.Name, end)
		default:
			p.Msg = fmt.Sprintf("key %s expires in %s, on %s", k.Name, console.Days(left), end)
			if state == schema.KeyCritical {
				level = levelWarning
			}
		}
		out = append(out, finding{level, p})
	}
	return append(out, noneValid(f, now)...)
}

// noneValid warns of a use for which every key has expired or is retired.
func noneValid(f *fleet.Fleet, now time.Time) (out []finding) {
	for _, use := range []string{fleet.UseRoot, fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp, fleet.UsePackage} {
		var last *fleet.Key
		valid := false
		for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
			if k := f.Keys[name]; slices.Contains(k.Uses, use) {
				last = k
				valid = valid || k.Has(use) && (k.Expires.IsZero() || now.Before(k.Expires))
			}
		}
		if last != nil && !valid {
			out = append(out, finding{levelWarning, fleet.Problem{Pos: last.Pos, Msg: fmt.Sprintf("no key with the use %s is valid any more, so nothing can be signed for it", use),
				Hint: "make one: bakehouse key create NAME --use " + use}})
		}
	}
	return out
}

// ofRoot warns of a newest root that expires soon. What else stands against it, roots.Check says.
func ofRoot(f *fleet.Fleet, now time.Time) []finding {
	var root struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	n := len(f.Roots)
	if n == 0 || json.Unmarshal(f.Roots[n-1], &root) != nil || root.Signed.Expires.IsZero() {
		return nil
	}
	end := root.Signed.Expires
	left := end.Sub(now)
	if left > publish.RootNotice {
		return nil
	}
	p := fleet.Problem{Pos: fleet.Pos{File: fmt.Sprintf("trust/%d.root.json", n)}, Msg: fmt.Sprintf("the root of trust expires in %s, on %s", console.Days(left), end.UTC().Format(time.DateOnly)),
		Hint: "sign a next root before: without one nothing can be published from then on, and hosts install nothing new"}
	if left <= 0 {
		p.Msg = fmt.Sprintf("the root of trust has expired on %s: nothing can be published, and hosts install nothing new", end.UTC().Format(time.DateOnly))
		p.Hint = "sign a next root"
	}
	return []finding{{levelWarning, p}}
}

// checked is what `check` found in a state of the repo.
type checked struct {
	what     string // the state
	findings []finding
	summary  *summary // nil after errors
}

type summary struct {
	Hosts   int `json:"hosts"`
	Retired int `json:"retired"`
	Recipes int `json:"recipes"`
	Plugins int `json:"plugins"` // of the repo's own
	Keys    int `json:"keys"`
}

func (c *checked) errors() (n int) {
	for _, f := range c.findings {
		if f.level == levelError {
			n++
		}
	}
	return n
}

// formats are the ways to write what was found: result on out, what is beside it on log.
var formats = map[string]func(c *checked, out, log io.Writer) error{
	"text": (*checked).text, "json": (*checked).json, "github": (*checked).github, "gitlab": (*checked).gitlab,
}

func (c *checked) text(out, log io.Writer) error {
	var errs fleet.Problems
	for _, f := range c.findings {
		if f.level == levelError {
			errs = append(errs, f.Problem)
			continue
		}
		fmt.Fprintf(log, "bakehouse: %s: %v\n", f.level, f.Problem)
		if f.Hint != "" {
			fmt.Fprintf(log, "bakehouse: hint: %s\n", f.Hint)
		}
	}
	if len(errs) > 0 {
		_, err := fmt.Fprintln(out, errs)
		return err
	}
	return c.ok(out)
}

// ok is the last line, in words.
func (c *checked) ok(w io.Writer) error {
	s := c.summary
	if s == nil {
		return nil
	}
	retired := ""
	if s.Retired > 0 {
		retired = fmt.Sprintf(", %d retired", s.Retired)
	}
	_, err := fmt.Fprintf(w, "ok: %s: %s%s, %s, %s of its own, %s\n", c.what, console.Count(s.Hosts, "host"), retired, console.Count(s.Recipes, "recipe"),
		console.Count(s.Plugins, "plugin"), console.Count(s.Keys, "key"))
	return err
}

func (c *checked) json(out, _ io.Writer) error {
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
		OK       bool     `json:"ok"`
		Checked  string   `json:"checked"`
		Findings []one    `json:"findings"`
		Summary  *summary `json:"summary,omitempty"`
	}{c.errors() == 0, c.what, []one{}, c.summary}
	for _, f := range c.findings {
		o := one{Level: f.level, Message: f.Msg, Hint: f.Hint, Place: place{f.Pos.File, f.Pos.Line, f.Pos.Col}}
		for _, p := range f.Also {
			o.Also = append(o.Also, place{p.File, p.Line, p.Col})
		}
		all.Findings = append(all.Findings, o)
	}
	return console.WriteJSON(out, all)
}

// github writes workflow commands, which GitHub shows at the lines of a pull request. Names and values of the repo stand
// in them, and could be commands of their own were they not escaped.
func (c *checked) github(out, log io.Writer) error {
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	var b strings.Builder
	for _, f := range c.findings {
		fmt.Fprintf(&b, "::%s ", f.level)
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
	return c.ok(log)
}

// inRepo reports whether p is in a file that the reader can open.
func inRepo(p fleet.Pos) bool { return p.File != "" && !strings.HasPrefix(p.File, "bakehouse:") }

// gitlab writes a code quality report. A fingerprint stays when lines move, so that GitLab tells new findings from old.
func (c *checked) gitlab(out, log io.Writer) error {
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
	severity := map[string]string{levelError: "critical", levelWarning: "minor", levelNotice: "info"}
	issues := []issue{}
	seen := map[string]int{}
	for _, f := range c.findings {
		at, message := f.Pos, f.Problem
		if inRepo(at) {
			message.Pos = fleet.Pos{}
		} else {
			at = fleet.Pos{File: "fleet.cue"} // GitLab drops issues that are nowhere
		}
		key := f.level + "\x00" + at.File + "\x00" + f.Msg
		sum := sha256.Sum256(fmt.Append(nil, key, "\x00", seen[key]))
		seen[key]++
		text := message.Error()
		if f.Hint != "" {
			text += "; hint: " + f.Hint
		}
		issues = append(issues, issue{text, "bakehouse-check", fmt.Sprintf("%x", sum), severity[f.level], location{at.File, begin{max(1, at.Line)}}})
	}
	if err := console.WriteJSON(out, issues); err != nil {
		return err
	}
	return c.ok(log)
}
