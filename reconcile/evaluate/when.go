package evaluate

import (
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
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

// takeConditions reads the named conditions, before anything refers to them.
func (b *builder) takeConditions(n *result.Node) {
	b.fleet.Conditions = map[string]*fleet.Condition{}
	named := map[string]*fleet.Condition{}
	for name, v := range n.Fields() {
		c := &fleet.Condition{Name: name, When: b.when(v), Pos: v.At()}
		if parts(&c.When, func(w *fleet.When) bool { return w.Named == nil }) {
			named[name] = c
			continue
		}
		b.problem(v, "condition %s refers to another by name, which only rules, rings and the selection can", name).Hint =
			"in CUE it can be a part of this one: `conditions: " + name + ": conditions.other & {…}`"
	}
	b.fleet.Conditions = named
}

// unusedConditions warns of those that nothing refers to.
func (b *builder) unusedConditions() {
	for _, c := range b.fleet.Conditions {
		if !b.used[c] {
			b.warn(fleet.Problem{Pos: c.Pos, Msg: "nothing refers to the condition " + c.Name})
		}
	}
}

// when reads a condition; nil is always met.
func (b *builder) when(n *result.Node) fleet.When {
	var w fleet.When
	if n == nil {
		return w
	}
	if v := n.Get("hosts"); v != nil {
		w.Hosts = &fleet.Names{}
		list := v
		if not := v.Get("not"); not != nil {
			list, w.Hosts.Not = not, true
		}
		w.Hosts.Patterns = b.patterns(list)
	}
	w.Labels, w.Tags = matches(n.Get("labels")), matches(n.Get("tags"))
	w.Folder, w.Site, w.Platform = match(n.Get("folder")), match(n.Get("site")), match(n.Get("platform"))
	if w.Folder != nil {
		for i, f := range w.Folder.Any {
			w.Folder.Any[i] = strings.Trim(f, "/")
		}
		b.references = append(b.references, reference{w.Folder, n.Get("folder").At(), "folder"})
	}
	if w.Site != nil {
		b.references = append(b.references, reference{w.Site, n.Get("site").At(), "site"})
	}
	if m := match(n.Get("condition")); m != nil {
		w.Named = b.named(m, n.Get("condition"))
	}
	w.All, w.Any = b.group(n.Get("all")), b.group(n.Get("any"))
	if v := n.Get("not"); v != nil {
		not := b.when(v)
		w.Not = &not
	}
	return w
}

// named looks up conditions; one that does not exist is told with the rest of what crosses directories.
func (b *builder) named(m *fleet.Match, n *result.Node) *fleet.Named {
	b.references = append(b.references, reference{m, n.At(), "condition"})
	named := &fleet.Named{Not: m.Not}
	for _, name := range m.Any {
		if c := b.fleet.Conditions[name]; c != nil {
			b.used[c] = true
			named.Conditions = append(named.Conditions, c)
		}
	}
	return named
}

func (b *builder) group(n *result.Node) []*fleet.When {
	if n == nil {
		return nil
	}
	out := []*fleet.When{}
	for _, v := range n.Parts {
		w := b.when(v)
		out = append(out, &w)
	}
	return out
}

func (b *builder) patterns(list *result.Node) []fleet.Pattern {
	var out []fleet.Pattern
	for _, v := range list.Parts {
		p, err := fleet.NewPattern(v.Text)
		if err != nil {
			b.problem(v, "host pattern %s: %v", result.Quote(v.Text), err)
			continue
		}
		out = append(out, p)
	}
	return out
}

func matches(n *result.Node) map[string]fleet.Match {
	if n == nil {
		return nil
	}
	out := make(map[string]fleet.Match, len(n.Names))
	for i, name := range n.Names {
		out[name] = *match(n.Parts[i])
	}
	return out
}

func match(n *result.Node) *fleet.Match {
	switch {
	case n == nil:
		return nil
	case n.Kind == result.String:
		return &fleet.Match{Any: []string{n.Text}}
	case n.Kind == result.Struct:
		m := match(n.Get("not"))
		m.Not = true
		return m
	}
	return &fleet.Match{Any: n.Strs()}
}
