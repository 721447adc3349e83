package engine

import (
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/token"

	"bakehouse/schema/fleet"
)

// paramOf describes a field of params as the plugin writes it.
func paramOf(name string, v cue.Value, optional bool, most int) fleet.Param {
	p := fleet.Param{Name: name, Type: v.IncompleteKind().String(), Doc: docOf(v), Pos: posOf(repoPos(v))}
	for _, a := range v.Attributes(cue.FieldAttr) {
		p.Secret = p.Secret || a.Name() == "secret"
		p.ByKey = p.ByKey || a.Name() == "byKey"
	}
	if !p.Secret {
		p.Secrets = secretsIn(v)
	}
	p.Forms = formsIn(v)
	if f, ok := v.Source().(*ast.Field); ok {
		p.Type, p.Default = typeOf(f.Value)
	}
	if p.Default != "" || optional {
		return p
	}
	if v.Validate(cue.Concrete(true)) == nil {
		if n, err := toNode(v, most); err == nil {
			p.Default = string(n.JSON())
			return p
		}
	}
	p.Required = true
	return p
}

// typeOf splits what a parameter may be from its default: beside a type, the default is only one of its values.
func typeOf(e ast.Expr) (kind, standard string) {
	var others, chosen []ast.Expr
	literals := true
	for _, alt := range alternativesOf(e) {
		star, ok := alt.(*ast.UnaryExpr)
		if ok && star.Op == token.MUL {
			chosen = append(chosen, star.X)
			continue
		}
		_, literal := alt.(*ast.BasicLit)
		literals = literals && literal
		others = append(others, alt)
	}
	if literals {
		others = append(slices.Clone(chosen), others...)
	}
	var words []string
	for _, alt := range others {
		words = append(words, cueOf(alt))
	}
	if len(chosen) > 0 {
		standard = cueOf(chosen[0])
	}
	return strings.Join(words, " | "), standard
}

// alternativesOf are the branches of a disjunction, in their order.
func alternativesOf(e ast.Expr) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.OR {
		return append(alternativesOf(b.X), alternativesOf(b.Y)...)
	}
	return []ast.Expr{e}
}

func cueOf(e ast.Expr) string {
	b, err := format.Node(e)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// docAt is the first sentence on what is at a path, or on what it is in.
func docAt(v cue.Value, path []string) (doc string) {
	for _, name := range path {
		if v = v.LookupPath(cue.MakePath(cue.Str(name).Optional())); !v.Exists() {
			break
		}
		if text := docOf(v); text != "" {
			doc, _, _ = strings.Cut(strings.ReplaceAll(text, "\n", " "), ". ")
		}
	}
	return doc
}

func docOf(v cue.Value) string {
	var b strings.Builder
	for _, group := range v.Doc() {
		b.WriteString(group.Text())
	}
	return strings.TrimSpace(b.String())
}
