package engine

import (
	"fmt"
	"strings"

	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
)

// unknownFields finds what def, a closed struct of the schema, does not allow in v. CUE reports such fields only as
// long as nothing else is wrong beside them, so this runs when something is, to tell everything at once.
func unknownFields(ctx *cue.Context, v, def cue.Value, path []string) (ps []located) {
	if root, to := def.ReferencePath(); def.Err() != nil && len(to.Selectors()) > 0 {
		def = root.LookupPath(to) // a definition that refers to itself is evaluated only as far as values reach
	}
	if v.IncompleteKind() != cue.StructKind || def.IncompleteKind() != cue.StructKind {
		if v.IncompleteKind() != cue.ListKind || def.IncompleteKind() != cue.ListKind {
			return nil
		}
		items, err := v.List()
		for i := 0; err == nil && items.Next(); i++ {
			item := def.LookupPath(cue.MakePath(cue.AnyIndex))
			ps = append(ps, unknownFields(ctx, items.Value(), item, append(path[:len(path):len(path)], fmt.Sprint(i)))...)
		}
		return ps
	}
	it, err := v.Fields()
	if err != nil {
		return nil
	}
	// Patterns take effect on fields that are there.
	probe := &ast.StructLit{}
	for it.Next() {
		probe.Elts = append(probe.Elts, &ast.Field{Label: label(it.Selector().Unquoted(), it.Value().Pos()),
			Value: ast.NewIdent("_")})
	}
	for it, _ = v.Fields(); it.Next(); {
		name := it.Selector()
		at := append(path[:len(path):len(path)], name.String())
		if !def.Allows(name) {
			ps = append(ps, unknownField(it.Value(), def, at))
			continue
		}
		child := def.LookupPath(cue.MakePath(name.Optional()))
		if !child.Exists() {
			child = def.Unify(ctx.BuildExpr(probe)).LookupPath(cue.MakePath(name))
		}
		ps = append(ps, unknownFields(ctx, it.Value(), child, at)...)
	}
	return ps
}

// homes are where fields stand that belong to another kind of directory.
var homes = map[string]string{"hosts": "hosts/", "defaults": "hosts/", "rules": "hosts/", "keys": "keys/",
	"thresholds": "keys/", "sites": "sites/", "plugin": "plugins/NAME/", "rollout": "the top directory",
	"users": "the top directory", "programs": "the top directory"}

func unknownField(v, def cue.Value, path []string) located {
	name := lastOf(path)
	l := located{path: path, Problem: fleet.Problem{Pos: posOf(repoPos(v)),
		Msg: fmt.Sprintf("%s: unknown field %s", pathString(path), name)}}
	allowed := fieldsOf(def)
	if len(allowed) > 0 {
		l.Hint = fleet.Nearest("did you mean %s?", name, allowed)
		if place := homes[name]; place != "" && len(path) == 1 {
			l.Hint = name + " is written in files below " + place
		} else if l.Hint == "" {
			l.Hint = "there are " + strings.Join(allowed, ", ")
		}
		return l
	}
	rule := "#Name"
	switch parent := path[max(0, len(path)-2)]; parent {
	case "hosts":
		rule = "#HostName"
	case "programs":
		rule = "#Platform"
	}
	l.Msg = fmt.Sprintf("%s: %s cannot be a name here", pathString(path), name)
	l.Hint = ruleOf(rule)
	return l
}

// fieldsOf lists the fields that a struct of the schema declares.
func fieldsOf(def cue.Value) (names []string) {
	it, err := def.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		names = append(names, it.Selector().Unquoted())
	}
	return names
}
