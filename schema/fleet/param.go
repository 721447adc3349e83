package fleet

import (
	"context"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/token"

	"bakehouse/schema"
)

// Param is a parameter that a plugin declares.
type Param struct {
	Name     string `json:"name"`
	Type     string `json:"type"`              // as CUE
	Default  string `json:"default,omitempty"` // as CUE: a value, or what it is taken from; empty: none
	Required bool   `json:"required"`          // it has no default, and the plugin needs it
	Doc      string `json:"doc"`               // the comment above it
	Secret   bool   `json:"secret,omitempty"`  // it has the attribute @secret(): neither errors nor explain tell its value
	Pos      Pos    `json:"pos,omitzero"`
}

// implicit is the parameter that every plugin has.
var implicit = Param{Name: Enabled, Type: "bool", Default: "true", Doc: "Whether hosts that rules give the plugin get it."}

// paramOf describes a field of params as the plugin writes it.
func paramOf(name string, v cue.Value, optional bool, most int) Param {
	p := Param{Name: name, Type: v.IncompleteKind().String(), Doc: docOf(v), Pos: posOf(repoPos(v))}
	for _, a := range v.Attributes(cue.FieldAttr) {
		p.Secret = p.Secret || a.Name() == "secret"
	}
	if f, ok := v.Source().(*ast.Field); ok {
		p.Type, p.Default = typeOf(f.Value)
	}
	if p.Default != "" || optional {
		return p
	}
	if v.Validate(cue.Concrete(true)) == nil {
		if n, err := toNode(v, most); err == nil {
			p.Default = string(n.json())
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

// Secret reports whether a parameter is one whose value is not told.
func (p *Plugin) Secret(name string) bool {
	return slices.ContainsFunc(p.Params, func(param Param) bool { return param.Name == name && param.Secret })
}

// All are the parameters by name, with the one that every plugin has.
func (p *Plugin) All() []Param {
	all := append(slices.Clone(p.Params), implicit)
	slices.SortFunc(all, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Home is the plugin's folder.
func (p *Plugin) Home() string { return p.home }

// Inputs are what the output depends on besides the parameters: fields of platform, host and fleet, such as host.name.
func (p *Plugin) Inputs() []string {
	var out []string
	for input, names := range p.inputs {
		for _, name := range names {
			out = append(out, input+"."+name)
		}
	}
	slices.Sort(out)
	return out
}

// Shipped loads the plugins that come with the tool, whether or not a fleet has rules for them.
func Shipped(ctx context.Context) (map[string]*Plugin, error) {
	ld := &loader{l: defaultLimits, fleet: &Fleet{Plugins: map[string]*Plugin{}, Keys: map[string]*Key{}, Programs: map[schema.Platform]Program{}},
		sources: newSources(shipped), wanted: map[string]bool{}, failed: map[string]bool{}, unread: map[string]bool{}}
	for _, name := range shippedNames() {
		ld.wanted[name] = true
	}
	if err := ld.evaluate(ctx, ld.shippedJobs()); err != nil {
		return nil, err
	}
	return ld.fleet.Plugins, ld.ps.or()
}
