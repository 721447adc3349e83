package engine

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"bakehouse/schema/fleet"
)

// places makes CUE's positions of the model's, so that errors about a value point to where a rule has it.
type places map[string]*token.File

// placesOf covers values and all their parts.
func placesOf(values map[string]fleet.Value) places {
	type extent struct{ lines, width int }
	extents := map[string]extent{}
	var cover func(fleet.Value)
	cover = func(v fleet.Value) {
		e := extents[v.Pos.File]
		extents[v.Pos.File] = extent{max(e.lines, v.Pos.Line), max(e.width, v.Pos.Col)}
		for _, item := range v.Items {
			cover(item)
		}
		for _, field := range v.Fields {
			cover(field.Value)
		}
	}
	for _, v := range values {
		cover(v)
	}
	p := places{}
	for name, e := range extents {
		if name == "" {
			continue
		}
		// All lines are as long as the longest needs to be.
		f := token.NewFile(name, -1, (e.lines+1)*(e.width+1))
		lines := make([]int, e.lines+1)
		for i := range lines {
			lines[i] = i * (e.width + 1)
		}
		f.SetLines(lines)
		p[name] = f
	}
	return p
}

// width is how long a line is in a file that placesOf made.
func width(f *token.File) int {
	lines := f.Lines()
	return f.Size() / len(lines)
}

func (p places) at(at fleet.Pos) token.Pos {
	f := p[at.File]
	if f == nil || at.Line < 1 {
		return token.NoPos
	}
	return f.Pos((at.Line-1)*width(f)+max(at.Col-1, 0), token.NoRelPos)
}

// fields are values as the fields of a struct, by name.
func (p places) fields(values map[string]fleet.Value) *ast.StructLit {
	st := &ast.StructLit{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		v := values[name]
		st.Elts = append(st.Elts, &ast.Field{Label: label(name, p.at(v.Pos)), Value: p.expr(v)})
	}
	return st
}

// expr is v as a CUE expression whose errors point to where v was written. Fields are by name, so that what a plugin
// makes of them does not depend on how they were written. Every call makes a new tree: building one annotates it.
func (p places) expr(v fleet.Value) ast.Expr {
	at := p.at(v.Pos)
	switch {
	case v.IsText():
		lit := ast.NewString(v.Text())
		lit.ValuePos = at
		return lit
	case v.IsList():
		list := &ast.ListLit{Lbrack: at}
		for _, item := range v.Items {
			list.Elts = append(list.Elts, p.expr(item))
		}
		return list
	case v.IsStruct():
		st := &ast.StructLit{Lbrace: at}
		for _, f := range v.Fields {
			st.Elts = append(st.Elts, &ast.Field{Label: label(f.Name, p.at(f.Pos)), Value: p.expr(f.Value)})
		}
		return st
	}
	text, negative := bytes.CutPrefix(v.JSON, []byte("-"))
	lit := &ast.BasicLit{ValuePos: at, Kind: kindOf(text), Value: string(text)}
	if !negative {
		return lit
	}
	return &ast.UnaryExpr{OpPos: at, Op: token.SUB, X: lit}
}

// kindOf is the kind of a JSON literal that is no string and has no sign.
func kindOf(text json.RawMessage) token.Token {
	switch {
	case string(text) == "true":
		return token.TRUE
	case string(text) == "false":
		return token.FALSE
	case string(text) == "null":
		return token.NULL
	case bytes.ContainsAny(text, ".eE"):
		return token.FLOAT
	}
	return token.INT
}

func label(name string, at token.Pos) ast.Label {
	l := ast.NewString(name)
	l.ValuePos = at
	return l
}
