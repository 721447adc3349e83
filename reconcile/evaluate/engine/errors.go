package engine

import (
	"fmt"
	"slices"
	"strings"

	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/errors"
)

// located is a problem and the path in the value that it is about.
type located struct {
	fleet.Problem
	path []string
}

// problemsOf makes problems of CUE's errors, one for each path: what CUE says of every branch of a disjunction becomes
// one sentence. in is what they are about, as the repo writes it; it stands at the path above in what CUE looked at.
func problemsOf(err error, in cue.Value, above ...string) fleet.Problems {
	var ps fleet.Problems
	for _, l := range locate(err, in, above...) {
		ps = append(ps, l.Problem)
	}
	return ps.Sorted()
}

func locate(err error, in cue.Value, above ...string) (ps []located) {
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
		path := withoutDefinition(groups[key][0].Path())
		if inside(path, above) {
			path = path[len(above):]
		}
		p := problemOf(groups[key], in, path)
		if p.Path = path; len(path) == 0 {
			p = withoutValues(p) // whose value it is, nobody knows
		}
		ps = append(ps, located{p, path})
	}
	// A default list has another length than the one that is given, which is not what is wrong with its items.
	return slices.DeleteFunc(ps, func(l located) bool {
		return strings.HasSuffix(l.Msg, wrongLength) &&
			slices.ContainsFunc(ps, func(o located) bool { return len(o.path) > len(l.path) && inside(o.path, l.path) })
	})
}

const wrongLength = "the list has too few or too many items"

// withoutDefinition is a path of CUE's without the definition that checked it.
func withoutDefinition(path []string) []string {
	if len(path) > 0 && strings.HasPrefix(path[0], "#") {
		return path[1:]
	}
	return path
}

func problemOf(group []errors.Error, in cue.Value, path []string) fleet.Problem {
	// The introduction of a disjunction has no arguments that help.
	branches := slices.DeleteFunc(slices.Clone(group), func(e errors.Error) bool {
		format, _ := e.Msg()
		return strings.Contains(format, "errors in empty disjunction") || strings.HasPrefix(format, "invalid left-hand value")
	})
	if len(branches) == 0 {
		branches = group
	}
	first := branches[0]
	var p fleet.Problem
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
	if strings.HasSuffix(format, "found '%s' %s") && len(args) == 3 {
		p.Msg = fmt.Sprintf("expected %s, found '%s'", args[0], args[1]) // the rest may be half of a secret
	}
	name := lastOf(path)
	given := at(in, path)
	if p.Pos.IsZero() {
		p.Pos = nearestPos(in, path)
	}
	switch {
	case format == "field not allowed":
		p.Msg = fmt.Sprintf("unknown field %s", name)
		p.Also = nil
	case strings.HasPrefix(format, "field is required but not present"):
		p.Msg = fmt.Sprintf("%s is missing", name)
	case strings.Contains(format, "out of bound") && len(args) > 0, outOfBound(branches) && given.IsConcrete():
		p.Msg = fmt.Sprintf("invalid value %v", given)
		if !given.IsConcrete() {
			p.Msg = fmt.Sprintf("invalid value %v", args[0])
		}
	case len(branches) > 1:
		if value, allowed, ok := alternatives(branches); ok {
			p.Msg = fmt.Sprintf("%s is none of %s", value, strings.Join(allowed, ", "))
			if len(allowed) == 1 {
				p.Msg = fmt.Sprintf("%s is not %s", value, typed(allowed[0]))
			}
			p.Hint = fleet.Nearest("did you mean %s?", value, allowed)
		}
	case strings.HasPrefix(format, "incompatible list lengths"):
		p.Msg = wrongLength
	case strings.HasPrefix(format, "conflicting values") && len(args) == 2 && given.IsConcrete():
		if value, allowed, ok := alternatives([]errors.Error{first}); ok {
			if value != fmt.Sprint(given) {
				value, allowed[0] = allowed[0], value
			}
			p.Msg = fmt.Sprintf("%s is not %s", value, typed(allowed[0]))
		}
	case strings.Contains(format, "mismatched types") && len(args) == 4:
		for i, want := range []any{args[3], args[2]} {
			if fmt.Sprint(args[i+2]) == given.IncompleteKind().String() {
				p.Msg = fmt.Sprintf("%v is %v, not %v", args[i], article(args[i+2]), article(want))
				break
			}
		}
	}
	if text, err := textOf(given); err == nil && number.MatchString(text) &&
		(strings.HasSuffix(p.Msg, "not an int") || strings.HasSuffix(p.Msg, "not a number")) {
		p.Hint = "a number is written without quotation marks"
		if name == "mode" {
			p.Hint += ", a mode in octal: 0o755"
		}
	}
	if p.Hint == "" {
		for _, r := range rules {
			if r != "" {
				p.Hint = r
			}
		}
	}
	if at := pathString(path); at != "" && p.Msg != at+" is missing" {
		p.Msg = at + ": " + p.Msg
	}
	return p
}

func textOf(v cue.Value) (string, error) {
	if !v.Exists() {
		return "", errors.New("no value")
	}
	return v.String()
}

// outOfBound reports whether some branch of a disjunction lets in the type, but not the value.
func outOfBound(branches []errors.Error) bool {
	return slices.ContainsFunc(branches, func(e errors.Error) bool {
		format, _ := e.Msg()
		return strings.Contains(format, "out of bound")
	})
}

// kinds are the types that a disjunction may name.
var kinds = []string{"bool", "bytes", "float", "int", "number", "string", "[...]", "{...}"}

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
			// Beside a type, its values are only defaults.
			if slices.ContainsFunc(allowed, func(s string) bool { return slices.Contains(kinds, s) }) {
				allowed = slices.DeleteFunc(allowed, func(s string) bool {
					return !strings.ContainsAny(s, "[{") &&
						!slices.Contains(kinds, s)
				})
			}
			slices.Sort(allowed)
			return given, slices.Compact(allowed), true
		}
	}
	return "", nil, false
}

// pathString is a path as the repo writes it.
func pathString(path []string) string {
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

// typed is s, with an article if it is the name of a type.
func typed(s string) string {
	if slices.Contains(kinds[:6], s) {
		return article(s)
	}
	return s
}

// article puts "a" or "an" before the name of a type.
func article(kind any) string {
	s := fmt.Sprint(kind)
	if strings.ContainsAny(s[:min(1, len(s))], "aeiou") {
		return "an " + s
	}
	return "a " + s
}

// at is the value at a path, as errors give it.
func at(v cue.Value, path []string) cue.Value {
	for _, s := range path {
		p := cue.ParsePath(s)
		if _, err := fmt.Sscanf(s, "%d", new(int)); err == nil {
			p = cue.ParsePath("[" + s + "]")
		}
		if v = v.LookupPath(p); !v.Exists() {
			break
		}
	}
	return v
}

// nearestPos is where the repo has that path, or as much of it as there is.
func nearestPos(v cue.Value, path []string) fleet.Pos {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if p := posOf(repoPos(at(v, path))); !p.IsZero() {
			return p
		}
	}
	return fleet.Pos{}
}

// inside reports whether path is at or below another.
func inside(path, above []string) bool {
	return len(path) >= len(above) && slices.Equal(path[:len(above)], above)
}
