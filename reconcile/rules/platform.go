package rules

import (
	"fmt"
	"slices"
	"strings"

	"bakehouse/reconcile/services"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Platforms counts the hosts of each platform, without evaluating a plugin. Hosts without one are passed over.
func Platforms(f *fleet.Fleet) map[schema.Platform]int {
	r, count := newResolver(f, nil), map[schema.Platform]int{}
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

// lacks says why no package can be made for a host with that recipe; empty if one can. It is the same for all hosts of
// a platform, format and recipe.
func lacks(f *fleet.Fleet, res *Result) string {
	p := res.Platform
	if len(p.Formats()) == 0 {
		return fmt.Sprintf("packages for %s are not made yet", p)
	}
	for _, o := range res.Recipe.Outputs {
		if p.OS != "linux" && len(o.Users)+len(o.Groups) > 0 {
			return fmt.Sprintf("plugin %s makes users, which is done on Linux only", o.Plugin)
		}
		if i := slices.IndexFunc(o.Files, func(f fleet.File) bool { return p.OS == "darwin" && sealed(f.Path) }); i >= 0 {
			return fmt.Sprintf("plugin %s has the file %s, where macOS lets nobody write", o.Plugin, o.Files[i].Path)
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
	if len(res.Platform.Formats()) == 0 {
		return "leave the hosts as they are for a later version, or mark them `state: \"retired\"`"
	}
	if strings.HasPrefix(res.Lacks, unpinned) {
		return fmt.Sprintf("bakehouse upgrade --platform %s", res.Platform)
	}
	return "take the plugin from these hosts by a rule with `when: platform`"
}

// anyOf are formats as a rule has them.
func anyOf(formats []schema.Format) string {
	var names []string
	for _, f := range formats {
		names = append(names, fmt.Sprintf("%q", f))
	}
	return strings.Join(names, " or ")
}

// named is how many hosts a warning names before it only counts.
const named = 3

// unpackaged has one problem per reason for which hosts get no package, at the first of them. all is whether none gets
// one.
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

// unstarted warns, once per platform and reason, of hosts whose packages leave out services.
func unstarted(r *Resolved) (ps fleet.Problems) {
	type leftOut struct {
		platform  schema.Platform
		what, why string
	}
	hosts := map[leftOut][]*Result{}
	for _, h := range r.Fleet.Hosts {
		res := r.Hosts[h.Name]
		if res == nil || res.Recipe == nil || res.Lacks != "" || res.Platform.OS == "linux" {
			continue
		}
		note := func(what string, err error) {
			l := leftOut{res.Platform, what, fmt.Sprint(err)}
			if !services.Made(l.platform.OS) {
				l.what, l.why = "services", "they are made for systemd, launchd and SMF only"
			}
			if of := hosts[l]; err != nil && (len(of) == 0 || of[len(of)-1] != res) {
				hosts[l] = append(of, res)
			}
		}
		for _, o := range res.Recipe.Outputs {
			for _, s := range o.Services {
				_, err := services.Service(res.Platform.OS, o.Plugin, s)
				note(fmt.Sprintf("the service %s of plugin %s", s.Name, o.Plugin), err)
			}
			for _, i := range o.Intervals {
				_, err := services.Interval(res.Platform.OS, o.Plugin, i)
				note(fmt.Sprintf("the interval %s of plugin %s", i.Name, o.Plugin), err)
			}
		}
	}
	for l, of := range hosts {
		ps = append(ps, fleet.Problem{Pos: of[0].Host.Pos,
			Msg: fmt.Sprintf("packages for %s leave out %s, on %s: %s", l.platform, l.what, who(of), l.why),
			Hint: "have the system itself start what is left out, such as `bakehouse-agent run`, or take it from these hosts " +
				"by a rule with `when: platform`"})
	}
	return ps.Sorted()
}

// sealed reports whether a path is where macOS lets nobody write.
func sealed(p string) bool {
	below := func(dir string) bool { return strings.HasPrefix(p, dir+"/") }
	return below("/usr") && !below("/usr/local") || slices.ContainsFunc([]string{"/bin", "/sbin", "/System"}, below) ||
		strings.Count(p, "/") == 1
}
