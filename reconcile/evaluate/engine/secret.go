package engine

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/literal"

	"bakehouse/schema/fleet"
)

// secretsIn are the ways from v to the fields that have the attribute @secret().
func secretsIn(v cue.Value) (found []fleet.PartPath) {
	unknown := eachPart(v, func(part cue.Value, path fleet.PartPath) bool {
		if secret(part) {
			found = append(found, path)
			return false
		}
		return true
	})
	if len(found) > 0 {
		found = append(found, unknown...)
	}
	slices.SortFunc(found, slices.Compare)
	return slices.CompactFunc(found, func(a, b fleet.PartPath) bool { return slices.Equal(a, b) })
}

// formsIn are the attributes @form(NAME) of v and its parts.
func formsIn(v cue.Value) (found []fleet.Form) {
	note := func(part cue.Value, path fleet.PartPath) bool {
		for _, a := range part.Attributes(cue.FieldAttr) {
			if a.Name() == "form" {
				found = append(found, fleet.Form{Path: path, Name: a.Contents()})
			}
		}
		return true
	}
	note(v, nil)
	eachPart(v, note)
	return found
}

// eachPart yields the fields inside of v, and what is in them if yield says so. It returns the ways to what is too deep
// to tell.
func eachPart(v cue.Value, yield func(cue.Value, fleet.PartPath) bool) (unknown []fleet.PartPath) {
	left := 10000 // a type may refer to itself
	var walk func(v cue.Value, path fleet.PartPath)
	walk = func(v cue.Value, path fleet.PartPath) {
		if left--; left < 0 || len(path) > 8 {
			unknown = append(unknown, path)
			return
		}
		if root, to := v.ReferencePath(); v.Err() != nil && len(to.Selectors()) > 0 {
			v = root.LookupPath(to) // a type that refers to itself is evaluated only as far as values reach
		}
		at := func(name string) fleet.PartPath { return append(path[:len(path):len(path)], name) }
		if op, args := v.Expr(); op == cue.OrOp {
			for _, arg := range args {
				walk(arg, path)
			}
			return
		}
		if to := cue.Dereference(v); to != v {
			if op, _ := to.Expr(); op == cue.OrOp {
				walk(to, path)
				return
			}
		}
		if v.IncompleteKind()&cue.StructKind != 0 {
			patterns := 0
			for it, err := v.Fields(cue.Optional(true), cue.Patterns(true)); err == nil && it.Next(); {
				if it.Selector().ConstraintType() == cue.PatternConstraint {
					patterns++
				}
			}
			for it, err := v.Fields(cue.Optional(true), cue.Patterns(true)); err == nil && it.Next(); {
				way := at(elementOf(it.Selector(), patterns > 1))
				if yield(it.Value(), way) {
					walk(it.Value(), way)
				}
			}
		}
		if v.IncompleteKind()&cue.ListKind != 0 {
			if item := v.LookupPath(cue.MakePath(cue.AnyIndex)); item.Exists() {
				walk(item, at(fleet.AnyPart))
			}
		}
	}
	walk(v, nil)
	return unknown
}

func secret(v cue.Value) bool {
	return slices.ContainsFunc(v.Attributes(cue.FieldAttr), func(a cue.Attribute) bool { return a.Name() == "secret" })
}

// elementOf is a field or pattern as a PartPath names it. A pattern that is the only one of its struct, or is more
// than a regular expression, is that of any field.
func elementOf(s cue.Selector, several bool) string {
	switch {
	case s.ConstraintType() != cue.PatternConstraint:
		return s.Unquoted()
	case !several:
		return fleet.AnyPart
	}
	op, args := s.Pattern().Expr()
	if op == cue.RegexMatchOp && len(args) > 0 {
		if re, err := args[len(args)-1].String(); err == nil {
			return "~" + re
		}
	}
	return fleet.AnyPart
}

// names are the elements of a path of CUE's as fields are called.
func names(path []string) []string {
	out := slices.Clone(path)
	for i, s := range out {
		if strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "#\"") {
			if name, err := literal.Unquote(s); err == nil {
				out[i] = name
			}
		}
	}
	return out
}

// withoutValues is a problem without the values that it quotes. A path that is known stays.
func withoutValues(p fleet.Problem) fleet.Problem {
	prefix := ""
	if at := pathString(p.Path); at != "" && strings.HasPrefix(p.Msg, at) {
		prefix, p.Msg = at, p.Msg[len(at):]
	}
	p.Msg, p.Hint = prefix+fleet.WithoutValues(p.Msg), ""
	return p
}

// tellsNoValue reports whether a message about a field says no more than that it is there or is not.
func tellsNoValue(p fleet.Problem) bool {
	at := pathString(p.Path)
	return p.Msg == at+" is missing" || p.Msg == at+": unknown field "+lastOf(p.Path) || p.Msg == at+": "+wrongLength
}

// hide takes out of what CUE says of a parameter what it says of secrets in it; path is inside of the parameter.
func hide(found fleet.Problem, param fleet.Param, path []string) fleet.Problem {
	switch path = names(path); {
	case !param.Hides(path) || tellsNoValue(found) && !param.Secret:
		return found
	case param.Secret:
		found.Msg = param.Name + ": it is not of the form that the plugin asks for"
	default:
		found.Msg = pathString(found.Path) + ": it is not of the form that the plugin asks for"
	}
	found.Hint = ""
	return found
}
