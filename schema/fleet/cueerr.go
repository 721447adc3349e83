package fleet

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/token"
)

// problemsOf makes problems of CUE's errors, one for each path: what CUE says of every branch of a disjunction becomes
// one sentence. in is the value that they are about, to suggest the names it allows.
func problemsOf(err error, in cue.Value) Problems {
	var ps Problems
	groups := map[string][]errors.Error{}
	var order []string
	for _, e := range errors.Errors(err) {
		key := strings.Join(e.Path(), "\x00")
		if len(e.Path()) == 0 {
			key = fmt.Sprint("\x00", len(order)) // syntax errors stand for themselves
		}
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], e)
	}
	for _, key := range order {
		ps = append(ps, problemOf(groups[key], in))
	}
	return ps.Sorted()
}

func problemOf(group []errors.Error, in cue.Value) Problem {
	// The introduction of a disjunction has no arguments that help.
	branches := slices.DeleteFunc(slices.Clone(group), func(e errors.Error) bool {
		format, _ := e.Msg()
		return strings.Contains(format, "errors in empty disjunction") || strings.HasPrefix(format, "invalid left-hand value")
	})
	if len(branches) == 0 {
		branches = group
	}
	first := branches[0]
	var p Problem
	var rules []string
	for _, e := range branches {
		for _, at := range errors.Positions(e) {
			q := posOf(at)
			switch {
			case q.File == "":
			case strings.HasPrefix(q.File, schemaPrefix):
				rules = append(rules, schemaRule(at))
			case p.Pos.IsZero():
				p.Pos = q
			case q != p.Pos && !slices.Contains(p.Also, q) && len(p.Also) < 3:
				p.Also = append(p.Also, q)
			}
		}
	}
	format, args := first.Msg()
	p.Msg = fmt.Sprintf(format, args...)
	name := lastOf(first.Path())
	switch {
	case format == "field not allowed":
		p.Msg = fmt.Sprintf("unknown field %s", name)
		p.Hint = Nearest("did you mean %s?", name, allowedAt(in, first.Path()))
		p.Also = nil
	case strings.HasPrefix(format, "field is required but not present"):
		p.Msg = fmt.Sprintf("%s is missing", name)
	case len(branches) > 1:
		if given, allowed, ok := alternatives(branches); ok {
			p.Msg = fmt.Sprintf("%s is none of %s", given, strings.Join(allowed, ", "))
			p.Hint = Nearest("did you mean %s?", given, allowed)
		}
	case strings.Contains(format, "out of bound") && len(args) > 0:
		p.Msg = fmt.Sprintf("invalid value %v", args[0])
	}
	if p.Hint == "" {
		for _, r := range rules {
			if r != "" {
				p.Hint = r
			}
		}
	}
	if at := pathString(first.Path()); at != "" {
		p.Msg = at + ": " + p.Msg
	}
	return p
}

// alternatives reads the branches of a disjunction that all conflict with one given value.
func alternatives(branches []errors.Error) (given string, allowed []string, ok bool) {
	var pairs [][2]string
	for _, e := range branches {
		format, args := e.Msg()
		if !strings.HasPrefix(format, "conflicting values") || len(args) < 2 {
			return "", nil, false
		}
		pairs = append(pairs, [2]string{fmt.Sprint(args[0]), fmt.Sprint(args[1])})
	}
	for _, given := range pairs[0] {
		allowed = nil
		for _, p := range pairs {
			switch given {
			case p[0]:
				allowed = append(allowed, p[1])
			case p[1]:
				allowed = append(allowed, p[0])
			}
		}
		if len(allowed) == len(pairs) {
			slices.Sort(allowed)
			return given, slices.Compact(allowed), true
		}
	}
	return "", nil, false
}

// pathString is a path of CUE's as the repo writes it: without the definition that checked it.
func pathString(path []string) string {
	if len(path) > 0 && strings.HasPrefix(path[0], "#") {
		path = path[1:]
	}
	var b strings.Builder
	for i, s := range path {
		if _, err := fmt.Sscanf(s, "%d", new(int)); err == nil && !strings.HasPrefix(s, `"`) {
			fmt.Fprintf(&b, "[%s]", s)
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s)
	}
	return b.String()
}

func lastOf(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

// allowedAt lists the names that the struct around path allows.
func allowedAt(in cue.Value, path []string) []string {
	if !in.Exists() || len(path) == 0 {
		return nil
	}
	v := in
	skip := 0
	if strings.HasPrefix(path[0], "#") {
		skip = 1
	}
	for _, s := range path[skip : len(path)-1] {
		p := cue.ParsePath(s)
		if _, err := fmt.Sscanf(s, "%d", new(int)); err == nil {
			p = cue.ParsePath("[" + s + "]")
		}
		if v = v.LookupPath(p); !v.Exists() {
			return nil
		}
	}
	var names []string
	it, err := v.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		if name := strings.TrimRight(it.Selector().String(), "?!"); name != lastOf(path) {
			names = append(names, name)
		}
	}
	return names
}

var definition = regexp.MustCompile(`^(#[A-Za-z]+):`)

// schemaRule is the comment of the definition that stands at a line of the published schema, in words for a user.
func schemaRule(at token.Pos) string {
	for _, s := range schemaDir.files {
		if s.name != at.Filename() {
			continue
		}
		lines := strings.Split(string(s.data), "\n")
		if at.Line() > len(lines) {
			return ""
		}
		m := definition.FindStringSubmatch(lines[at.Line()-1])
		if m == nil {
			return ""
		}
		var doc []string
		for i := at.Line() - 2; i >= 0 && strings.HasPrefix(lines[i], "// "); i-- {
			doc = append([]string{strings.TrimPrefix(lines[i], "// ")}, doc...)
		}
		text := strings.Join(doc, " ")
		if rest, ok := strings.CutPrefix(text, m[1]+" is "); ok {
			return "it must be " + strings.TrimSuffix(rest, ".")
		}
	}
	return ""
}
