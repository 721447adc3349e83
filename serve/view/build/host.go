package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// Host is one host; the error wraps fs.ErrNotExist if it does not exist for v.
func (s *Source) Host(ctx context.Context, v Viewer, name string) (*view.Host, error) {
	head, rel := s.head()
	row, f, verdict, ok := s.Hosts.Row(name, v.sees)
	if !ok {
		return nil, fmt.Errorf("host %s: %w", name, missing)
	}
	h := &view.Host{Head: head, Row: row, Newest: row.TargetRelease, Heading: verdict.Why, Detail: verdict.Next,
		Steps: []view.Step{}, Decision: []view.Question{}, History: []view.Change{}, Keys: []schema.KeyState{},
		Candidates: []schema.Candidate{}}
	known, err := s.Inventory.Host(ctx, name)
	switch {
	case err == nil:
		if known.End.How == "" {
			h.Registration = &view.Registration{At: known.At, User: known.User, Program: known.Agent}
		}
		if !known.Seen.At.IsZero() {
			h.Report, h.Holds = &known.Seen.Report, view.Holds{Root: known.Seen.Root, Timestamp: known.Seen.Timestamp}
			if d := known.Seen.Report.Details; d != nil && d.Keys != nil {
				h.Keys = d.Keys
			}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	past, err := s.Inventory.PastOf(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, p := range past {
		h.History = append(h.History, view.Change{At: p.At, State: hosts.State(p.State), Code: p.Code,
			Release: p.Release, Text: p.Text})
	}
	machines, err := s.Inventory.Machines(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, m := range machines {
		if len(machines) > 1 {
			h.Machines = append(h.Machines, view.Machine{ID: m.ID, First: m.First, Last: m.Last, Address: m.Address})
		}
	}
	if a := f.Assigned; a != nil {
		h.Candidates, h.Was = a.Candidates(), a.Was
		h.SiteURL = rel.Policy.Sites[cmp.Or(a.Site, schema.CentralSite)].URL
		h.Decision = decision(f, verdict, rel.Policy.Rings, s.now())
		h.Explain = "bakehouse explain " + name
	}
	h.Steps = append(h.Steps, steps(h)...)
	return h, nil
}

// steps are what somebody can do about the state of a host.
func steps(h *view.Host) []view.Step {
	again := view.Step{Text: "Ask again now, on the host", Command: "bakehouse-agent update -v", OnHost: true}
	status := view.Step{Text: "Ask the host what is wrong", Command: "bakehouse-agent status", OnHost: true}
	switch h.State {
	case hosts.Unregistered:
		return []view.Step{{Text: "Register it, on the host", Command: "bakehouse-agent register", OnHost: true}}
	case hosts.Rejected:
		return []view.Step{{Text: "Which keys did sign its package", Command: "bakehouse package verify " + h.Name},
			again}
	case hosts.Failed:
		return []view.Step{status, {Text: "Try the same release once more, on the host",
			Command: "bakehouse-agent update --retry",
			OnHost:  true}}
	case hosts.Withheld, hosts.Blocked:
		return []view.Step{status, again}
	case hosts.Overdue:
		return []view.Step{{Text: "Is the host up, and does it reach its server?", Command: "bakehouse-agent status",
			OnHost: true}, again}
	case hosts.Waiting:
		switch h.Code {
		case outcome.CodePaused:
			return []view.Step{{Text: "End the pause, on the host", Command: "bakehouse-agent resume", OnHost: true}}
		case outcome.CodeDrift:
			return []view.Step{{Text: "See which files differ, on the host", Command: "bakehouse-agent status",
				OnHost: true}}
		}
		return []view.Step{{Text: "Which rule decides so", Command: h.Explain}}
	case hosts.NotInGit:
		return []view.Step{{Text: "If it is gone, forget its registration", Command: "bakehouse host forget " + h.Name}}
	}
	return nil
}

// decision asks the questions of schema.Policy.Decide in its order, then what comes after it. The first no is the
// answer.
func decision(f hosts.Facts, v hosts.Verdict, rings []schema.Ring, now time.Time) []view.Question {
	const policy, target = "signed policy", "signed target"
	var list []view.Question
	stopped := false
	ask := func(code, text string, no bool, detail, source string) {
		q := view.Question{Code: code, Text: text, Answer: view.Yes, Source: source}
		switch {
		case stopped:
			q.Answer, q.Source = view.NotAsked, ""
		case no:
			q.Answer, q.Detail, stopped = view.No, detail, true
		}
		list = append(list, q)
	}
	d := f.Policy.Decide(f.Assigned, schema.Standing{Installed: f.Report.Installed, Release: f.Report.Release}, now)
	is := func(code string) bool { return d.Code == code }
	ask("switch", "Updates are on for the fleet", is(schema.CodeDisabled), d.Why, policy)
	ask("selected", "The host is selected", is(schema.CodeNotSelected), d.Why, target)
	ring, delay := "It is in a ring", "The ring's delay is over"
	for i, r := range rings {
		if r.Name == f.Assigned.Ring {
			ring = fmt.Sprintf("It is in ring %s, number %d of %d", r.Name, i+1, len(rings))
			if r.Delay > 0 {
				delay = "The ring's delay of " + r.Delay.String() + " is over"
			}
		}
	}
	ask("ring", ring, is(schema.CodeNoRing), d.Why, target)
	ask("delay", delay, is(schema.CodeWaiting), d.Why, policy)
	ask("package", "Its package is not revoked", is(schema.CodeRevoked), d.Why, policy)
	install := is(schema.CodeInstall)
	ask("gate", "The gate before its ring is open", install && f.Gate.Held, cmp.Or(f.Gate.Why, v.Why), "this server")
	ask("server", "Neither server, site nor network keeps it from its updates", v.State == hosts.Withheld, v.Why,
		"the host")
	ask("registered", "It is registered", v.State == hosts.Unregistered, v.Why, "this server")
	ask("heard", "It asks as often as it should", v.State == hosts.Overdue && v.Code == hosts.CodeSilent, v.Why,
		"this server")
	ask("signatures", "What it is given verifies there", v.State == hosts.Rejected, v.Why, "the host")
	ask("paused", "Its administrator lets it", v.Code == outcome.CodePaused || v.Code == outcome.CodeRolledBack,
		v.Why, "the host")
	ask("host", "Nothing on the host is in the way", v.State == hosts.Blocked, v.Why, "the host")
	ask("install", "It is installed, and is well there", v.State != hosts.UpToDate,
		strings.TrimSuffix(v.Why+"; "+v.Next, "; "), "the host")
	return list
}
