package rules

import (
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// watch prepares to observe the rules of all folders.
func (r *resolver) watch() {
	r.uses = map[*fleet.Rule]*use{}
	for _, folder := range r.fleet.Folders {
		for _, rules := range folder.Rules {
			for _, rule := range rules {
				if !rule.Disabled {
					r.uses[rule] = &use{}
				}
			}
		}
	}
}

// observe notes which rules had a say on a host. Rules that are not watched, such as a host's own, are passed over.
func (r *resolver) observe(plugin string, s *combined, h *fleet.Host) {
	if r.uses == nil {
		return
	}
	for i, rule := range s.rules {
		u := r.uses[rule]
		if u == nil || u.decides {
			continue
		}
		u.matched = true
		if u.decides = i == 0 || s.decides(rule); !u.decides && u.beaten == nil {
			u.beaten = s.rules[0]
		}
	}
	for name, set := range s.params {
		r.replaced(plugin, name, s.by[name], set, h)
	}
}

// replaced notes what weaker rules lose: lists and structs, whose author may have thought that they add up. That a text
// or a number takes the place of another is what rules are for; and what a host itself sets is meant.
func (r *resolver) replaced(plugin, name string, by *fleet.Rule, set *Setting, h *fleet.Host) {
	for _, p := range set.Shadowed {
		u := r.uses[p.Rule]
		if u == nil || !p.IsList() && !p.IsStruct() || string(p.JSON) == string(set.JSON) {
			continue
		}
		what, by := name, by
		if f := r.fleet.Plugins[plugin]; f != nil && f.ByKey(name) {
			if len(p.Fields) == 0 {
				continue
			}
			field := p.Fields[0].Name
			what = fmt.Sprintf("%s: %q", name, field)
			if n := len(p.Fields) - 1; n > 0 {
				what += fmt.Sprintf(" (and %d more)", n)
			}
			for _, stronger := range set.Parts {
				if stronger.has(field) {
					by = stronger.Rule
				}
			}
		}
		if r.uses[by] == nil || by.Override ||
			slices.ContainsFunc(u.lost, func(l loss) bool { return l.what == what }) {
			continue
		}
		u.lost = append(u.lost, loss{what, h.Name, by.Pos})
	}
}

// decides reports whether some value is the rule's, or has a part of it.
func (s *combined) decides(rule *fleet.Rule) bool {
	for name := range rule.Value {
		set := s.params[name]
		if set != nil && (s.by[name] == rule || slices.ContainsFunc(set.Parts, func(p Part) bool { return p.Rule == rule })) {
			return true
		}
	}
	return false
}

// warnings are what is probably not meant, though it can be done.
func (r *resolver) warnings(res *Resolved) (ps fleet.Problems) {
	reached := map[*fleet.Folder]int{}
	for _, h := range res.Hosts {
		for f := h.Host.Folder; f != nil; f = f.Parent {
			reached[f]++
		}
	}
	for _, folder := range r.fleet.Folders {
		for plugin, rules := range folder.Rules {
			for _, rule := range rules {
				u := r.uses[rule]
				switch {
				case u == nil:
				case !u.matched:
					ps = append(ps, r.idle(rule, folder, plugin, reached[folder])...)
				case !u.decides:
					p := fleet.Problem{Pos: rule.Pos, Msg: fmt.Sprintf("this rule for %s is shadowed: on each of its hosts, "+
						"stronger rules set all that it sets", plugin)}
					if !u.beaten.Pos.IsZero() {
						p.Also = []fleet.Pos{u.beaten.Pos}
					}
					ps = append(ps, p)
				default:
					for _, l := range u.lost {
						ps = append(ps, fleet.Problem{Pos: rule.Pos, Also: []fleet.Pos{l.by},
							Msg: fmt.Sprintf("host %s gets nothing of %s.%s of this rule: a stronger rule sets it",
								l.host, plugin, l.what),
							Hint: "`override: true` in the stronger rule says that this is meant"})
					}
				}
			}
		}
	}
	for at := range r.anyKeys {
		ps = append(ps, fleet.Problem{Pos: at, Msg: "threshold counts the signatures of any package keys, " +
			"since no rule sets keys for these hosts: one party that has two of them meets it alone",
			Hint: "name the keys that count, as in `keys: [\"ci\", \"reviewer\"]`"})
	}
	return append(append(append(ps, r.homeless(res)...), r.deserted(res)...), r.closed(res)...).Sorted()
}

// observeThreshold notes a threshold above 1 of hosts that accept every key with the use package.
func (r *resolver) observeThreshold(plugin string, s *combined) {
	threshold := s.params["threshold"]
	if plugin == fleet.UpdaterPlugin && threshold != nil && string(threshold.JSON) != "1" && s.params["keys"] == nil {
		r.anyKeys[threshold.Pos] = true
	}
}

func belowFolder(h *fleet.Host, path string) bool { return below(h.Folder.Path, path) }

// idle is the warning of a rule that is for no host, with the reason if there never can be one.
func (r *resolver) idle(rule *fleet.Rule, folder *fleet.Folder, plugin string, hosts int) fleet.Problems {
	p := fleet.Problem{Pos: rule.Pos}
	if reason, also := r.never(&rule.When, folder); reason != "" {
		p.Msg, p.Also = fmt.Sprintf("this rule for %s can never match: %s", plugin, reason), also
		return fleet.Problems{p}
	}
	if hosts == 0 {
		return nil // the whole folder is for later
	}
	p.Msg = fmt.Sprintf("this rule for %s matches none of the hosts that it reaches, %d in all", plugin, hosts)
	p.Hint = "a rule that is for later can be `disabled: true`"
	return fleet.Problems{p}
}

// never says why a rule of that folder can match no host of the fleet, whatever labels, tags and attributes they get.
func (r *resolver) never(w *fleet.When, folder *fleet.Folder) (string, []fleet.Pos) {
	empty := w.Any != nil && len(w.Any) == 0 || w.All != nil && len(w.All) == 0 || w.Hosts != nil &&
		len(w.Hosts.Patterns) == 0 && !w.Hosts.Not ||
		w.Named != nil && len(w.Named.Conditions) == 0 && !w.Named.Not
	for _, m := range []*fleet.Match{w.Folder, w.Site, w.Platform} {
		empty = empty || m != nil && len(m.Any) == 0 && !m.Not
	}
	for _, matches := range []map[string]fleet.Match{w.Labels, w.Tags} {
		for _, m := range matches {
			empty = empty || len(m.Any) == 0 && !m.Not
		}
	}
	if empty {
		return "an empty list matches nothing", nil
	}
	if w.Folder != nil && !w.Folder.Not && !slices.ContainsFunc(w.Folder.Any,
		func(f string) bool { return below(f, folder.Path) || below(folder.Path, f) }) {
		return fmt.Sprintf("it reaches only hosts in and below folder %q", folder.Path), nil
	}
	if w.Hosts != nil && !w.Hosts.Not {
		if reason, also := r.absent(w.Hosts.Patterns, folder); reason != "" {
			return reason, also
		}
	}
	for _, part := range w.All {
		if reason, also := r.never(part, folder); reason != "" {
			return reason, also
		}
	}
	return "", nil
}

// absent says why none of the patterns can mean a host in or below the folder; empty if one is a regular expression.
func (r *resolver) absent(patterns []fleet.Pattern, folder *fleet.Folder) (string, []fleet.Pos) {
	var reasons []string
	var also []fleet.Pos
	for _, p := range patterns {
		i, there := slices.BinarySearchFunc(r.fleet.Hosts, p.Text,
			func(h *fleet.Host, name string) int { return strings.Compare(h.Name, name) })
		switch {
		case p.IsRegexp() || there && belowFolder(r.fleet.Hosts[i], folder.Path) && !r.fleet.Hosts[i].Retired:
			return "", nil
		case !there:
			reasons = append(reasons, fmt.Sprintf("there is no host %q", p.Text))
		case r.fleet.Hosts[i].Retired:
			reasons, also = append(reasons, "host "+p.Text+" is retired"), append(also, r.fleet.Hosts[i].Pos)
		default:
			reasons, also = append(reasons, fmt.Sprintf("host %s is not in or below folder %q", p.Text, folder.Path)),
				append(also, r.fleet.Hosts[i].Pos)
		}
	}
	return strings.Join(reasons[:min(3, len(reasons))], ", "), also[:min(3, len(also))]
}

// deserted warns of sites that no host has.
func (r *resolver) deserted(res *Resolved) (ps fleet.Problems) {
	lived := map[string]bool{}
	for _, h := range res.Hosts {
		lived[h.Site] = true
	}
	for name, at := range r.fleet.SitePos {
		if !lived[name] {
			ps = append(ps, fleet.Problem{Pos: at, Msg: "no host has site " + name,
				Hint: fmt.Sprintf("give hosts `site: %q`: in their folder's defaults, by a rule or one by one", name)})
		}
	}
	return ps
}

// homeless warns of hosts that hold for want of a ring, or that nothing gives a site; once per folder, since a fleet
// may have 100,000 of them.
func (r *resolver) homeless(res *Resolved) (ps fleet.Problems) {
	type lack struct{ folder, what string }
	first, count := map[lack]*fleet.Host{}, map[lack]int{}
	note := func(h *fleet.Host, what string) {
		l := lack{h.Folder.Path, what}
		if count[l]++; first[l] == nil {
			first[l] = h
		}
	}
	for _, h := range r.fleet.Hosts {
		result := res.Hosts[h.Name]
		if result == nil {
			continue
		}
		if result.Ring == "" && result.Selected {
			note(h, "is in no ring, so it gets no updates")
		}
		if len(r.fleet.Sites) > 1 && !result.sited {
			note(h, "is given no site and belongs to "+fleet.CentralSite)
		}
	}
	for l, h := range first {
		who := "host " + h.Name
		if n := count[l] - 1; n > 0 {
			who += fmt.Sprintf(" (and %d more of its folder)", n)
		}
		ps = append(ps, fleet.Problem{Pos: h.Pos, Msg: who + " " + l.what})
	}
	return ps
}
