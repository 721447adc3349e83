package rules

import (
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Platforms counts the hosts of each platform, without evaluating a plugin. Hosts without one are passed over.
func Platforms(f *fleet.Fleet) map[schema.Platform]int {
	r, count := newResolver(f), map[schema.Platform]int{}
	for _, h := range f.Hosts {
		if h.Retired {
			continue
		}
		if res := r.attributes(h); res != nil {
			count[res.Platform]++
		}
	}
	return count
}

// lacks says why no package can be made for a host with that recipe; empty if one can. It is the same for all hosts of a
// platform, format and recipe.
func lacks(f *fleet.Fleet, res *Result) string {
	p := res.Platform
	switch formats := p.Formats(); {
	case len(formats) == 0:
		return fmt.Sprintf("packages for %s are not made yet", p)
	case !slices.Contains(formats, res.Format):
		return fmt.Sprintf("format %s is not made for %s", res.Format, p)
	}
	for _, o := range res.Recipe.Outputs {
		if p.OS != "linux" && len(o.Users)+len(o.Groups) > 0 {
			return fmt.Sprintf("plugin %s makes users, which is done on Linux only", o.Plugin)
		}
	}
	if _, pinned := f.Programs[p]; pinned {
		return ""
	}
	for _, o := range res.Recipe.Outputs {
		if slices.ContainsFunc(o.Files, func(f fleet.File) bool { return f.Program }) {
			return unpinned + p.String()
		}
	}
	return ""
}

const unpinned = "no host program is pinned for "

// remedy is what to do about what a host lacks.
func remedy(res *Result) string {
	switch formats := res.Platform.Formats(); {
	case len(formats) == 0:
		return "leave the hosts as they are for a later version, or mark them `state: \"retired\"`"
	case !slices.Contains(formats, res.Format):
		var names []string
		for _, f := range formats {
			names = append(names, fmt.Sprintf("%q", f))
		}
		return fmt.Sprintf("set their format to %s", strings.Join(names, " or "))
	}
	if strings.HasPrefix(res.Lacks, unpinned) {
		return fmt.Sprintf("bakehouse upgrade --platform %s", res.Platform)
	}
	return "take the plugin from these hosts by a rule with `when: platform`"
}

// named is how many hosts a warning names before it only counts.
const named = 3

// unpackaged has one problem per reason for which hosts get no package, at the first of them. all is whether none gets one.
func unpackaged(r *Resolved) (ps fleet.Problems, all bool) {
	hosts := map[string][]*Result{} // by reason
	packaged := 0
	for _, h := range r.Fleet.Hosts {
		switch res := r.Hosts[h.Name]; {
		case res == nil:
		case res.Lacks == "":
			packaged++
		default:
			hosts[res.Lacks] = append(hosts[res.Lacks], res)
		}
	}
	for reason, of := range hosts {
		who := who(of) + " get"
		if len(of) == 1 {
			who += "s"
		}
		at := of[0].Host.Pos
		if strings.HasPrefix(reason, unpinned) {
			at = fleet.Pos{File: "fleet.cue"}
		}
		ps = append(ps, fleet.Problem{Pos: at, Msg: who + " no package: " + reason, Hint: remedy(of[0])})
	}
	return ps.Sorted(), packaged == 0 && len(hosts) > 0
}

// who names some of the hosts, and says how many more there are.
func who(of []*Result) string {
	if len(of) == 1 {
		return "host " + of[0].Host.Name
	}
	var names []string
	for _, res := range of[:min(named, len(of))] {
		names = append(names, res.Host.Name)
	}
	text := "hosts " + strings.Join(names, ", ")
	if more := len(of) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// unstarted warns, once per platform, of hosts whose packages leave out services, which are units of systemd.
func unstarted(r *Resolved) (ps fleet.Problems) {
	hosts := map[schema.Platform][]*Result{}
	for _, h := range r.Fleet.Hosts {
		res := r.Hosts[h.Name]
		if res == nil || res.Recipe == nil || res.Lacks != "" || res.Platform.OS == "linux" {
			continue
		}
		if slices.ContainsFunc(res.Recipe.Outputs, func(o *fleet.Output) bool { return len(o.Services)+len(o.Intervals) > 0 }) {
			hosts[res.Platform] = append(hosts[res.Platform], res)
		}
	}
	for p, of := range hosts {
		ps = append(ps, fleet.Problem{Pos: of[0].Host.Pos, Msg: fmt.Sprintf("packages for %s leave out services, on %s: they are made for systemd only", p, who(of)),
			Hint: "have the system itself start `bakehouse-agent run` and the other services of the host's plugins"})
	}
	return ps.Sorted()
}
