package rules

import (
	"iter"
	"maps"
	"slices"

	"bakehouse/schema/fleet"
)

// Setting is a parameter of a host that some rule sets.
type Setting struct {
	fleet.Value
	Rule     fleet.Pos
	Shadowed []fleet.Value // what later rules would have set, in their order
}

// each yields the rules of a plugin (or fleet.HostAttributes) that are for the host, the strongest first.
func (s subject) each(plugin string) iter.Seq[*fleet.Rule] {
	return func(yield func(*fleet.Rule) bool) {
		if r := s.host.Set[plugin]; r != nil && !yield(r) {
			return
		}
		for f := s.host.Folder; f != nil; f = f.Parent {
			for _, r := range f.Rules[plugin] {
				if !r.Disabled && s.matches(&r.When) && !yield(r) {
					return
				}
			}
		}
	}
}

// settle resolves each parameter by the first rule that sets it; ok if any rule is for the host at all.
func settle(rules iter.Seq[*fleet.Rule]) (settings map[string]*Setting, ok bool) {
	settings = map[string]*Setting{}
	for r := range rules {
		ok = true
		for name, v := range r.Value {
			if first := settings[name]; first != nil {
				first.Shadowed = append(first.Shadowed, v)
				continue
			}
			settings[name] = &Setting{Value: v, Rule: r.Pos}
		}
	}
	return settings, ok
}

// attributeRules are what decides on a host's attributes: itself, rules, and the defaults of its folders.
func attributeRules(h *fleet.Host) iter.Seq[*fleet.Rule] {
	return func(yield func(*fleet.Rule) bool) {
		if !yield(&fleet.Rule{Value: h.Attributes, Pos: h.Pos}) {
			return
		}
		for r := range (subject{host: h}).each(fleet.HostAttributes) {
			if !yield(r) {
				return
			}
		}
		for f := h.Folder; f != nil; f = f.Parent {
			if !yield(&fleet.Rule{Value: f.Defaults}) {
				return
			}
		}
	}
}

// plugins are the names that some rule for the host, matching or not, is about.
func plugins(h *fleet.Host) []string {
	names := map[string]bool{}
	for p := range h.Set {
		names[p] = true
	}
	for f := h.Folder; f != nil; f = f.Parent {
		for p := range f.Rules {
			names[p] = true
		}
	}
	delete(names, fleet.HostAttributes)
	return slices.Sorted(maps.Keys(names))
}

// enabled reports whether the parameter of that name, which every plugin has, lets the plugin in.
func enabled(settings map[string]*Setting) bool {
	s := settings[fleet.Enabled]
	return s == nil || string(s.JSON) == "true"
}
