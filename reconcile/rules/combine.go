package rules

import (
	"iter"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// Setting is a parameter of a host that some rule sets.
type Setting struct {
	// of lists that are appended, all their items, of structs by key, all their fields, at the place of the first
	fleet.Value
	Parts    []Part // of several rules that make it, what each gives, in their order; nil if one rule set it
	Shadowed []Part // what weaker rules would have set, in their order
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
func combine(p *fleet.Plugin, rules iter.Seq[*fleet.Rule]) *combined {
	s := &combined{params: map[string]*Setting{}, by: map[string]*fleet.Rule{}}
	for r := range rules {
		s.rules = append(s.rules, r)
		for name, v := range r.Value {
			s.add(p, name, Part{v, r})
		}
	}
	for name, set := range s.params {
		switch {
		case set.IsStruct() && p.ByKey(name):
			set.Value = collected(set)
		case len(set.Parts) > 0:
			lists := make([]fleet.Value, len(set.Parts))
			for i, p := range set.Parts {
				lists[i] = p.Value
			}
			set.Value = fleet.Concat(lists)
		}
	}
	return s
}

// collected is a struct of what rules give to its fields, without those that are to be left out.
func collected(set *Setting) fleet.Value {
	fields := slices.Clone(set.Fields)
	if set.Parts != nil {
		fields = nil
	}
	for _, p := range set.Parts {
		fields = append(fields, p.Fields...)
	}
	return fleet.StructOf(set.Pos, slices.DeleteFunc(fields, func(f fleet.Field) bool { return f.IsNull() }))
}

// add is the next rule's word on a parameter.
func (s *combined) add(plugin *fleet.Plugin, name string, p Part) {
	how, first := plugin.Combine, s.params[name]
	switch {
	case first == nil && how == fleet.CombineFirstRule && len(s.rules) > 1:
		if s.passed == nil {
			s.passed = map[string][]Part{}
		}
		s.passed[name] = append(s.passed[name], p)
	case first == nil:
		s.params[name], s.by[name] = &Setting{Value: p.Value}, p.Rule
	case how != fleet.CombineFirstRule && plugin.ByKey(name) && first.IsStruct() && p.IsStruct():
		s.collect(first, name, p)
	case how == fleet.CombineAppend && first.IsList() && p.IsList():
		if first.Parts == nil {
			first.Parts = []Part{{first.Value, s.by[name]}}
		}
		first.Parts = append(first.Parts, p)
	default:
		first.Shadowed = append(first.Shadowed, p)
	}
}

// collect adds the fields that no stronger rule has.
func (s *combined) collect(first *Setting, name string, p Part) {
	parts := first.Parts
	if parts == nil {
		parts = []Part{{first.Value, s.by[name]}}
	}
	taken := func(f fleet.Field) bool {
		return slices.ContainsFunc(parts, func(stronger Part) bool { return stronger.has(f.Name) })
	}
	won := p.Keep(func(f fleet.Field) bool { return !taken(f) })
	if lost := p.Keep(taken); len(lost.Fields) > 0 {
		first.Shadowed = append(first.Shadowed, Part{lost, p.Rule})
	}
	if len(won.Fields) > 0 {
		first.Parts = append(parts, Part{won, p.Rule})
	}
}

// has reports whether a struct has a field of that name.
func (p Part) has(name string) bool {
	_, found := slices.BinarySearchFunc(p.Fields, name,
		func(f fleet.Field, name string) int { return strings.Compare(f.Name, name) })
	return found
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
	return combine(f.Plugins[plugin], s.each(plugin))
}

// attributePlugin is how rules for attributes combine.
var attributePlugin = fleet.Plugin{Combine: fleet.CombineFirstPerParameter}

// combineAttributes resolves a host's attributes.
func combineAttributes(h *fleet.Host) *combined {
	return combine(&attributePlugin, attributeRules(h))
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
