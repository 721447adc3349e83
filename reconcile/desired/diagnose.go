package desired

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Levels of diagnostics. Only errors prevent a release.
const (
	Error   = "error"
	Warning = "warning"
	Notice  = "notice"
)

// Diagnostic is one thing to report about a state.
type Diagnostic struct {
	Level string
	fleet.Problem
}

// Diagnosis is everything that there is to report about a state.
type Diagnosis struct {
	State       string       // its name
	Diagnostics []Diagnostic // in order of their places
	Summary     *Summary     // nil after errors
}

// Summary counts what a state has.
type Summary struct {
	Hosts   int `json:"hosts"`
	Retired int `json:"retired"`
	Recipes int `json:"recipes"`
	Plugins int `json:"plugins"` // of the repository's own
	Keys    int `json:"keys"`
}

// Errors counts the errors.
func (d *Diagnosis) Errors() (n int) {
	for _, found := range d.Diagnostics {
		if found.Level == Error {
			n++
		}
	}
	return n
}

// Diagnose evaluates s and collects everything that there is to report. What is zero in e is as fleet.cue has it. The
// error is about reading the files, never about what they say.
func (s *State) Diagnose(ctx context.Context, e schema.KeyExpiry, now time.Time) (*Diagnosis, error) {
	d := &Diagnosis{State: s.Name}
	repo, err := s.Load(ctx)
	var f *fleet.Fleet
	var resolved *rules.Resolved
	if err == nil {
		f = repo.Fleet
		e = schema.KeyExpiry{Warn: cmp.Or(e.Warn, f.KeyExpiry.Warn), Critical: cmp.Or(e.Critical, f.KeyExpiry.Critical)}
		resolved, err = rules.Resolve(ctx, f, repo)
		err = s.complain(err)
		if resolved != nil {
			s.recall(resolved.Missing)
		}
		d.Diagnostics = findings(f, resolved, e, now)
	}
	var problems fleet.Problems
	switch {
	case errors.As(err, &problems):
		d.Diagnostics = append(d.Diagnostics, diagnostics(Error, problems)...)
	case err != nil:
		return nil, err
	default:
		d.Summary = &Summary{Hosts: len(resolved.Hosts), Retired: len(resolved.Retired), Recipes: len(resolved.Recipes),
			Keys: len(f.Keys)}
		for _, p := range f.Plugins {
			if !p.Shipped {
				d.Summary.Plugins++
			}
		}
	}
	d.Diagnostics = append(d.Diagnostics, diagnostics(Warning, s.deleted())...)
	if d.Errors() == 0 {
		s.Fleet, s.Resolved = f, resolved
		ways, err := s.changedWays(ctx)
		if err != nil {
			return nil, err
		}
		d.Diagnostics = append(d.Diagnostics, diagnostics(Warning, ways)...)
	}
	if d.Errors() > 0 {
		d.Summary = nil
	}
	sortByPlace(d.Diagnostics)
	return d, nil
}

// findings is everything that there is to report about a fleet that was evaluated; resolved is nil if its rules are
// wrong, which says more.
func findings(f *fleet.Fleet, resolved *rules.Resolved, e schema.KeyExpiry, now time.Time) []Diagnostic {
	all := slices.Concat(diagnostics(Warning, f.Warnings), ofKeys(f, e, now), ofRoot(f, now), ofAuthorities(f, now),
		diagnostics(Error, roots.Check(f)))
	if resolved != nil {
		all = append(all, diagnostics(Warning, slices.Concat(resolved.Warnings, resolved.Missing))...)
		all = append(all, unread(f, resolved)...)
	}
	sortByPlace(all)
	return all
}

// maxUnread bounds how many unread files are named one by one.
const maxUnread = 20

// unread lists what is where the fleet is looked for, but neither read nor taken into a package.
func unread(f *fleet.Fleet, resolved *rules.Resolved) (out []Diagnostic) {
	if len(f.Unread) == 0 {
		return nil
	}
	taken, used := map[string]bool{}, map[string]bool{} // files; plugins
	for _, recipe := range resolved.Recipes {
		for _, o := range recipe.Outputs {
			used[o.Plugin] = true
			for _, file := range o.Files {
				taken[file.Repo] = true
			}
		}
	}
	for _, u := range f.Unread {
		below := strings.Split(u.Pos.File, "/")
		unused := len(below) > 2 && below[0] == "plugins" && !used[below[1]] // so what it ships is in no package
		if taken[u.Pos.File] || u.Aside && unused {
			continue
		}
		d := Diagnostic{Warning, u.Problem}
		if u.Aside {
			d.Level = Notice
		}
		out = append(out, d)
	}
	if more := len(out) - maxUnread; more > 1 {
		last := out[maxUnread-1]
		last.Msg, last.Hint = fmt.Sprintf("nothing reads this, nor %d more files and folders", more), ""
		out = append(out[:maxUnread-1], last)
	}
	return out
}

func sortByPlace(all []Diagnostic) {
	slices.SortStableFunc(all, func(a, b Diagnostic) int { return a.Pos.Compare(b.Pos) })
}

func diagnostics(level string, ps fleet.Problems) (out []Diagnostic) {
	for _, p := range ps {
		out = append(out, Diagnostic{level, p})
	}
	return out
}

// ofKeys lists the keys that expire soon: a notice from keyExpiry.warn on, a warning from critical on. Expiry strands
// no host: from then on reconcile does not sign with the key.
func ofKeys(f *fleet.Fleet, e schema.KeyExpiry, now time.Time) (out []Diagnostic) {
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		k, level := f.Keys[name], Notice
		left, end := k.Expires.Sub(now), date(k.Expires)
		p := fleet.Problem{Pos: k.Pos, Hint: "add the key that follows it, and let hosts accept both before this one ends"}
		switch state := e.Of(k.Expires, now); {
		case !k.Retired.IsZero():
			continue
		case now.Before(k.NotBefore):
			p.Hint = ""
			p.Msg = fmt.Sprintf("key %s is valid from %s: reconcile does not sign with it before", k.Name, date(k.NotBefore))
		case state == schema.KeyFine:
			continue
		case state == schema.KeyExpired:
			level, p.Msg = Warning, fmt.Sprintf("key %s has expired on %s: reconcile does not sign with it", k.Name, end)
			p.Hint = "set a later `expires` until hosts accept the key that follows it, or retire it"
		default:
			p.Msg = fmt.Sprintf("key %s expires in %s, on %s", k.Name, console.Days(left), end)
			if state == schema.KeyCritical {
				level = Warning
			}
		}
		out = append(out, Diagnostic{level, p})
	}
	return append(out, noneValid(f, now)...)
}

// noneValid warns of a use for which every key has expired or is retired.
func noneValid(f *fleet.Fleet, now time.Time) (out []Diagnostic) {
	for _, use := range append(slices.Clone(fleet.Roles), fleet.UsePackage) {
		var last *fleet.Key
		valid := false
		for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
			if k := f.Keys[name]; slices.Contains(k.Uses, use) {
				last = k
				valid = valid || k.Has(use) && (k.Expires.IsZero() || now.Before(k.Expires))
			}
		}
		if last == nil || valid {
			continue
		}
		p := fleet.Problem{Pos: last.Pos,
			Msg:  fmt.Sprintf("no key with the use %s is valid any more, so nothing can be signed for it", use),
			Hint: "make one: bakehouse key create NAME --use " + use}
		if use == fleet.UsePackage || use == fleet.UseRoot { // hosts accept what a key that they know signs
			p.Hint = "set a later `expires`, or take `retired` out: hosts accept nothing that a new key alone signs"
		}
		out = append(out, Diagnostic{Warning, p})
	}
	return out
}

// ofRoot warns of a newest root that expires soon. What else stands against it, roots.Check says.
func ofRoot(f *fleet.Fleet, now time.Time) []Diagnostic {
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
	p := fleet.Problem{Pos: fleet.Pos{File: fmt.Sprintf("trust/%d.root.json", n)},
		Msg: fmt.Sprintf("the root of trust expires in %s, on %s", console.Days(left), date(end)),
		Hint: "sign a next root before: " +
			"without one nothing can be published from then on, and hosts install nothing new"}
	if left <= 0 {
		p.Msg = "the root of trust has expired on " + date(end) + ": nothing can be published, and hosts install nothing new"
		p.Hint = "sign a next root"
	}
	return []Diagnostic{{Warning, p}}
}

// authorityNotice is how long before its end an authority of servers is reported: hosts have to get the next one first.
const authorityNotice = 90 * 24 * time.Hour

// ofAuthorities warns of certificates that hosts believe servers by, and soon no more.
func ofAuthorities(f *fleet.Fleet, now time.Time) (out []Diagnostic) {
	for _, a := range f.Authorities {
		end := a.Cert.NotAfter
		left := end.Sub(now)
		if left > authorityNotice {
			continue
		}
		p := fleet.Problem{Pos: a.Pos, Msg: fmt.Sprintf("certificate %.80q expires in %s, on %s",
			a.Cert.Subject.CommonName, console.Days(left), date(end)),
			Hint: "list the one that follows beside it, and publish, before servers show it: from the end on hosts " +
				"believe no server by this one"}
		if left <= 0 {
			p.Msg = fmt.Sprintf("certificate %.80q has expired on %s: hosts believe no server by it",
				a.Cert.Subject.CommonName, date(end))
			p.Hint = "list the one that follows it, and remove this one once servers show that"
		}
		out = append(out, Diagnostic{Warning, p})
	}
	return out
}

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// maxWarned bounds how many warnings are printed beside a plan or a release.
const maxWarned = 20

// Warn writes to log what `check` would warn of, a line each.
func (s *State) Warn(log io.Writer, now time.Time) {
	all := slices.Concat(s.deleted(), s.Fleet.Warnings, s.Resolved.Warnings)
	for _, d := range ofKeys(s.Fleet, s.Fleet.KeyExpiry, now) {
		if d.Level == Warning { // from keyExpiry.critical on
			all = append(all, d.Problem)
		}
	}
	for i, w := range all {
		if i == maxWarned {
			console.Warn(log, "and %d more, which `bakehouse check` lists", len(all)-i)
			break
		}
		console.Warn(log, "%v", w)
	}
}
