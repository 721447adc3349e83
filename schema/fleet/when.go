package fleet

import (
	"regexp"
	"strings"

	"cuelang.org/go/cue"
)

// When is a condition; what is nil matches everything, and all that is set must match.
type When struct {
	Hosts        *Names
	Labels, Tags map[string]Match
	Folder       *Match // a folder or any below it
	Site         *Match
	Platform     *Match // "os/arch" or "os"
	Named        *Named
	All, Any     []*When // nil: not asked for; empty: matches nothing
	Not          *When
}

// Named asks for conditions by name: one of them holds, or with Not none of them.
type Named struct {
	Conditions []*Condition
	Not        bool
}

// Condition is a condition that the fleet names.
type Condition struct {
	Name string
	When When
	Pos  Pos

	used bool
}

// Names matches a host by name. An empty list matches nothing.
type Names struct {
	Patterns []Pattern
	Not      bool // matches what no pattern does
}

// Match compares one value. It matches any of Any, or with Not none of them; a value that is absent is none of them.
type Match struct {
	Any []string
	Not bool
}

// Pattern is a host's name, or "~" and a regular expression anchored at the start (schema.MatchHost).
type Pattern struct {
	Text string
	re   *regexp.Regexp
}

// NewPattern compiles a pattern.
func NewPattern(text string) (Pattern, error) {
	p := Pattern{Text: text}
	if expr, ok := strings.CutPrefix(text, "~"); ok {
		re, err := regexp.Compile("^(?:" + expr + ")")
		if err != nil {
			return p, err
		}
		p.re = re
	}
	return p, nil
}

// Match reports whether a host of that name is meant.
func (p Pattern) Match(host string) bool {
	if p.re != nil {
		return p.re.MatchString(host)
	}
	return p.Text == host
}

// IsRegexp reports whether p is a regular expression rather than a name.
func (p Pattern) IsRegexp() bool { return p.re != nil }

// parts are the conditions that w is made of, itself the first.
func (w *When) parts(yield func(*When) bool) bool {
	if w == nil {
		return true
	}
	if !yield(w) || !w.Not.parts(yield) {
		return false
	}
	for _, group := range [][]*When{w.All, w.Any} {
		for _, part := range group {
			if !part.parts(yield) {
				return false
			}
		}
	}
	if w.Named != nil {
		for _, c := range w.Named.Conditions {
			if !c.When.parts(yield) {
				return false
			}
		}
	}
	return true
}

// looksAtAttributes reports whether w depends on what rules for attributes set.
func (w *When) looksAtAttributes() bool {
	return !w.parts(func(part *When) bool { return part.Site == nil && part.Platform == nil })
}

// reference is a Match whose values must exist in the fleet.
type reference struct {
	match *Match
	node  *node
	kind  string
}

// takeConditions reads the named conditions, before anything refers to them.
func (ld *loader) takeConditions(n *node) {
	ld.fleet.Conditions = map[string]*Condition{}
	named := map[string]*Condition{}
	for name, v := range n.pairs() {
		c := &Condition{Name: name, When: ld.when(v), Pos: v.at()}
		if c.When.parts(func(w *When) bool { return w.Named == nil }) {
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
		if !c.used {
			ld.warn(Problem{Pos: c.Pos, Msg: "nothing refers to the condition " + c.Name})
		}
	}
}

// when reads a condition; nil is always met.
func (ld *loader) when(n *node) When {
	var w When
	if n == nil {
		return w
	}
	if v := n.get("hosts"); v != nil {
		w.Hosts = &Names{}
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
func (ld *loader) named(m *Match, n *node) *Named {
	ld.references = append(ld.references, reference{m, n, "condition"})
	named := &Named{Not: m.Not}
	for _, name := range m.Any {
		if c := ld.fleet.Conditions[name]; c != nil {
			c.used = true
			named.Conditions = append(named.Conditions, c)
		}
	}
	return named
}

func (ld *loader) group(n *node) []*When {
	if n == nil {
		return nil
	}
	out := []*When{}
	for _, v := range n.fields {
		w := ld.when(v)
		out = append(out, &w)
	}
	return out
}

func (ld *loader) patterns(list *node) []Pattern {
	var out []Pattern
	for _, v := range list.fields {
		p, err := NewPattern(v.text)
		if err != nil {
			ld.problem(v, "host pattern %s: %v", quote(v.text), err)
			continue
		}
		out = append(out, p)
	}
	return out
}

func matches(n *node) map[string]Match {
	if n == nil {
		return nil
	}
	out := make(map[string]Match, len(n.names))
	for i, name := range n.names {
		out[name] = *match(n.fields[i])
	}
	return out
}

func match(n *node) *Match {
	switch {
	case n == nil:
		return nil
	case n.kind == cue.StringKind:
		return &Match{Any: []string{n.text}}
	case n.kind == cue.StructKind:
		m := match(n.get("not"))
		m.Not = true
		return m
	}
	return &Match{Any: n.strs()}
}
