package rules

import (
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// subject is what a condition looks at.
type subject struct {
	host     *fleet.Host
	site     string
	platform schema.Platform
}

// matches reports whether all that w asks for holds.
func (s subject) matches(w *fleet.When) bool {
	return matchNames(w.Hosts, s.host.Name) &&
		matchMap(w.Labels, s.host.Labels) &&
		matchMap(w.Tags, s.host.Tags) &&
		matchFolder(w.Folder, s.host.Folder) &&
		matchAny(w.Site, func(site string) bool { return s.site == site }) &&
		matchAny(w.Platform, func(p string) bool { return p == s.platform.String() || p == s.platform.OS }) &&
		(w.Named == nil || slices.ContainsFunc(w.Named.Conditions,
			func(c *fleet.Condition) bool { return s.matches(&c.When) }) != w.Named.Not) &&
		(w.Any == nil || slices.ContainsFunc(w.Any, s.matches)) &&
		(w.All == nil || len(w.All) > 0 && !slices.ContainsFunc(w.All,
			func(part *fleet.When) bool { return !s.matches(part) })) &&
		(w.Not == nil || !s.matches(w.Not))
}

func matchNames(n *fleet.Names, name string) bool {
	return n == nil || slices.ContainsFunc(n.Patterns, func(p fleet.Pattern) bool { return p.Match(name) }) != n.Not
}

func matchMap(want map[string]fleet.Match, have map[string]string) bool {
	for key, m := range want {
		v, ok := have[key]
		if (ok && slices.Contains(m.Any, v)) == m.Not {
			return false
		}
	}
	return true
}

func matchFolder(m *fleet.Match, folder *fleet.Folder) bool {
	return matchAny(m, func(dir string) bool { return below(folder.Path, dir) })
}

func matchAny(m *fleet.Match, holds func(string) bool) bool {
	return m == nil || slices.ContainsFunc(m.Any, holds) != m.Not
}

// below reports whether folder is dir or a folder below it. Everything is below the root, "".
func below(folder, dir string) bool {
	return dir == "" || folder == dir || strings.HasPrefix(folder, dir+"/")
}
