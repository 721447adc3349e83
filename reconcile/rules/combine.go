package rules

import (
	"iter"
	"maps"
	"slices"

	"bakehouse/schema/fleet"
)

// Setting is a parameter of a host that some rule sets.
type Setting struct {
	fleet.Value        // of lists that are appended: all their items, at the place of the first
	Parts       []Part // the lists that were appended, in their order; nil if one rule set it
	Shadowed    []Part // what weaker rules would have set, in their order
}

// Part is what one rule gives to a parameter.
type Part struct {
	fleet.Value
	Rule *fleet.Rule
}

// combined is what rules say of one plugin of a host, or of its attributes.
type combined struct {
	rules  []*fleet.Rule // that are for the host, the strongest first
	params map[string]*Setting
	by     map[string]*fleet.Rule // the rule that sets it, or the first of those
	// what weaker rules would have set where the first rule alone decides, and leaves the default
	passed map[string][]Part
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

// combine resolves each parameter in the way that the plugin's rules combine.
func combine(how fleet.Combine, rules iter.Seq[*fleet.Rule]) *combined {
	s := &combined{params: map[string]*Setting{}, by: map[string]*fleet.Rule{}}
	for r := range rules {
		s.rules = append(s.rules, r)
		for name, v := range r.Value {
			s.add(how, name, Part{v, r})
		}
	}
	for _, set := range s.params {
		if len(set.Parts) > 0 {
			lists := make([]fleet.Value, len(set.Parts))
			for i, p := range set.Parts {
				lists[i] = p.Value
			}
			set.Value = fleet.Concat(lists)
		}
	}
	return s
}

// add is the next rule's word on a parameter.
func (s *combined) add(how fleet.Combine, name string, p Part) {
	first := s.params[name]
	switch {
	case first == nil && how == fleet.CombineFirstRule && len(s.rules) > 1:
		if s.passed == nil {
			s.passed = map[string][]Part{}
		}
		s.passed[name] = append(s.passed[name], p)
	case first == nil:
		s.params[name], s.by[name] = &Setting{Value: p.Value}, p.Rule
	case how == fleet.CombineAppend && first.IsList() && p.IsList():
		if first.Parts == nil {
			first.Parts = []Part{{first.Value, s.by[name]}}
		}
		first.Parts = append(first.Parts, p)
	default:
		first.Shadowed = append(first.Shadowed, p)
	}
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

// combinePlugin resolves the parameters of a plugin on a host.
func combinePlugin(f *fleet.Fleet, s subject, plugin string) *combined {
	return combine(f.Plugins[plugin].Combine, s.each(plugin))
}

// combineAttributes resolves a host's attributes.
func combineAttributes(h *fleet.Host) *combined {
	return combine(fleet.CombineFirstPerParameter, attributeRules(h))
}

// present reports whether the plugin is in the host's package: some rule for it is for the host, and enabled, the
// parameter that every plugin has, lets it in.
func (s *combined) present() bool { return len(s.rules) > 0 && s.enabled() }

func (s *combined) enabled() bool {
	set := s.params[fleet.Enabled]
	return set == nil || string(set.JSON) == "true"
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
