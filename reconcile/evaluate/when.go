package evaluate

import (
	"strings"

	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
)

// parts yields the conditions that w is made of, itself the first, until yield returns false.
func parts(w *fleet.When, yield func(*fleet.When) bool) bool {
	if w == nil {
		return true
	}
	if !yield(w) || !parts(w.Not, yield) {
		return false
	}
	for _, group := range [][]*fleet.When{w.All, w.Any} {
		for _, part := range group {
			if !parts(part, yield) {
				return false
			}
		}
	}
	if w.Named != nil {
		for _, c := range w.Named.Conditions {
			if !parts(&c.When, yield) {
				return false
			}
		}
	}
	return true
}

// looksAtAttributes reports whether w depends on what rules for attributes set.
func looksAtAttributes(w *fleet.When) bool {
	return !parts(w, func(part *fleet.When) bool { return part.Site == nil && part.Platform == nil })
}

// reference is a Match whose values must exist in the fleet.
type reference struct {
	match *fleet.Match
	node  *node
	kind  string
}

// takeConditions reads the named conditions, before anything refers to them.
func (ld *loader) takeConditions(n *node) {
	ld.fleet.Conditions = map[string]*fleet.Condition{}
	named := map[string]*fleet.Condition{}
	for name, v := range n.pairs() {
		c := &fleet.Condition{Name: name, When: ld.when(v), Pos: v.at()}
		if parts(&c.When, func(w *fleet.When) bool { return w.Named == nil }) {
			named[name] = c
			continue
		}
		ld.problem(v, "condition %s refers to another by name, which only rules, rings and the selection can", name).Hint =
			"in CUE it can be a part of this one: `conditions: " + name + ": conditions.other & {…}`"
	}
	ld.fleet.Conditions = named
}

// unusedConditions warns of those that nothing refers to.
func (ld *loader) unusedConditions() {
	for _, c := range ld.fleet.Conditions {
		if !ld.used[c] {
			ld.warn(fleet.Problem{Pos: c.Pos, Msg: "nothing refers to the condition " + c.Name})
		}
	}
}

// when reads a condition; nil is always met.
func (ld *loader) when(n *node) fleet.When {
	var w fleet.When
	if n == nil {
		return w
	}
	if v := n.get("hosts"); v != nil {
		w.Hosts = &fleet.Names{}
		list := v
		if not := v.get("not"); not != nil {
			list, w.Hosts.Not = not, true
		}
		w.Hosts.Patterns = ld.patterns(list)
	}
	w.Labels, w.Tags = matches(n.get("labels")), matches(n.get("tags"))
	w.Folder, w.Site, w.Platform = match(n.get("folder")), match(n.get("site")), match(n.get("platform"))
	if w.Folder != nil {
		for i, f := range w.Folder.Any {
			w.Folder.Any[i] = strings.Trim(f, "/")
		}
		ld.references = append(ld.references, reference{w.Folder, n.get("folder"), "folder"})
	}
	if w.Site != nil {
		ld.references = append(ld.references, reference{w.Site, n.get("site"), "site"})
	}
	if m := match(n.get("condition")); m != nil {
		w.Named = ld.named(m, n.get("condition"))
	}
	w.All, w.Any = ld.group(n.get("all")), ld.group(n.get("any"))
	if v := n.get("not"); v != nil {
		not := ld.when(v)
		w.Not = &not
	}
	return w
}

// named looks up conditions; one that does not exist is told with the rest of what crosses directories.
func (ld *loader) named(m *fleet.Match, n *node) *fleet.Named {
	ld.references = append(ld.references, reference{m, n, "condition"})
	named := &fleet.Named{Not: m.Not}
	for _, name := range m.Any {
		if c := ld.fleet.Conditions[name]; c != nil {
			ld.used[c] = true
			named.Conditions = append(named.Conditions, c)
		}
	}
	return named
}

func (ld *loader) group(n *node) []*fleet.When {
	if n == nil {
		return nil
	}
	out := []*fleet.When{}
	for _, v := range n.fields {
		w := ld.when(v)
		out = append(out, &w)
	}
	return out
}

func (ld *loader) patterns(list *node) []fleet.Pattern {
	var out []fleet.Pattern
	for _, v := range list.fields {
		p, err := fleet.NewPattern(v.text)
		if err != nil {
			ld.problem(v, "host pattern %s: %v", quote(v.text), err)
			continue
		}
		out = append(out, p)
	}
	return out
}

func matches(n *node) map[string]fleet.Match {
	if n == nil {
		return nil
	}
	out := make(map[string]fleet.Match, len(n.names))
	for i, name := range n.names {
		out[name] = *match(n.fields[i])
	}
	return out
}

func match(n *node) *fleet.Match {
	switch {
	case n == nil:
		return nil
	case n.kind == cue.StringKind:
		return &fleet.Match{Any: []string{n.text}}
	case n.kind == cue.StructKind:
		m := match(n.get("not"))
		m.Not = true
		return m
	}
	return &fleet.Match{Any: n.strs()}
}
