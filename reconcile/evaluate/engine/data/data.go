// Package data reads folders that are plain data. Most folders of a large fleet list hosts, each with a few strings.
// Such a file is its own value: nothing in it refers to anything, and the schema asks no more of it than that names and
// strings match expressions. It is read off its syntax, at a fraction of what CUE takes. All else, whatever might be
// wrong above all, is CUE's to judge, so what is said here is only ever yes.
package data

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Form is what the schema asks of a value, as far as it is that simple.
type Form struct {
	text   func(string) bool // of a string; nil: it is a struct
	fields map[string]*Form  // optional ones; nil: it takes CUE
	names  func(string) bool // of the fields, if all have the form of
	of     *Form
}

// FormOf is the form of a definition of a schema, nil if it takes CUE.
func FormOf(schema []result.File, definition string) *Form {
	return reader{files: schema, at: map[string]bool{}}.definition(definition)
}

// reader reads forms from the schema.
type reader struct {
	files []result.File
	at    map[string]bool // definitions that are being read
}

func (r reader) definition(name string) *Form {
	if r.at[name] {
		return nil
	}
	r.at[name] = true
	defer delete(r.at, name)
	for _, s := range r.files {
		f, err := parser.ParseFile(s.Name, s.Data)
		if err != nil {
			return nil
		}
		for _, d := range f.Decls {
			field, ok := d.(*ast.Field)
			if !ok {
				continue
			}
			if label, _, err := ast.LabelName(field.Label); err == nil && label == name {
				return r.expr(field.Value)
			}
		}
	}
	return nil
}

func (r reader) expr(x ast.Expr) *Form {
	switch x := x.(type) {
	case *ast.Ident:
		return r.definition(x.Name)
	case *ast.StructLit:
		return r.fields(x)
	case *ast.BinaryExpr:
		a, b := r.expr(x.X), r.expr(x.Y)
		if x.Op == token.AND && a != nil && b != nil && a.text != nil && b.text != nil {
			return &Form{text: func(s string) bool { return a.text(s) && b.text(s) }}
		}
	case *ast.UnaryExpr:
		lit, ok := x.X.(*ast.BasicLit)
		if !ok || x.Op != token.MAT && x.Op != token.NMAT {
			return nil
		}
		text, err := literal.Unquote(lit.Value)
		if err != nil {
			return nil
		}
		re, err := regexp.Compile(text)
		if err != nil {
			return nil
		}
		return &Form{text: func(s string) bool { return re.MatchString(s) == (x.Op == token.MAT) }}
	case *ast.CallExpr:
		return maxRunes(x)
	}
	return nil
}

// maxRunes is `strings.MaxRunes(n)`.
func maxRunes(x *ast.CallExpr) *Form {
	fun, ok := x.Fun.(*ast.SelectorExpr)
	if !ok || len(x.Args) != 1 {
		return nil
	}
	pkg, ok := fun.X.(*ast.Ident)
	name, _, err := ast.LabelName(fun.Sel)
	lit, isLit := x.Args[0].(*ast.BasicLit)
	if !ok || err != nil || !isLit || pkg.Name != "strings" || name != "MaxRunes" {
		return nil
	}
	most, err := strconv.Atoi(lit.Value)
	if err != nil {
		return nil
	}
	return &Form{text: func(s string) bool { return utf8.RuneCountInString(s) <= most }}
}

// fields is the form of a struct with optional fields or with one pattern, and nothing that must be there.
func (r reader) fields(x *ast.StructLit) *Form {
	f := &Form{fields: map[string]*Form{}}
	for _, d := range x.Elts {
		switch d := d.(type) {
		case *ast.CommentGroup:
		case *ast.EmbedDecl:
			embedded := r.expr(d.Expr)
			if embedded == nil || embedded.text != nil || embedded.names != nil {
				return nil
			}
			for name, of := range embedded.fields {
				f.add(name, of)
			}
		case *ast.Field:
			if pattern, ok := d.Label.(*ast.ListLit); ok && len(pattern.Elts) == 1 && f.names == nil {
				names := r.expr(pattern.Elts[0])
				of := r.expr(d.Value)
				if names == nil || names.text == nil || of == nil {
					return nil
				}
				f.names, f.of = names.text, of
				continue
			}
			name, _, err := ast.LabelName(d.Label)
			if err != nil || d.Constraint != token.OPTION {
				return nil
			}
			f.add(name, r.expr(d.Value))
		default:
			return nil
		}
	}
	if f.names != nil && len(f.fields) > 0 {
		return nil
	}
	return f
}

// add has a field. One that is asked for in two places takes CUE.
func (f *Form) add(name string, of *Form) {
	if _, twice := f.fields[name]; twice {
		of = nil
	}
	f.fields[name] = of
}

// A fold is on its way from syntax to data.
type fold struct {
	left int // how many values there may still be
	pos  func(token.Pos) fleet.Pos
}

// Read is what a file says, if it has the form and is written as plainly as data is: names, strings and structs, none
// of them given twice, but a struct at the top line by line. Otherwise, or with more than most values, it is nil.
// Values stand where CUE says they do; pos is a place in the file.
func (f *Form) Read(file *ast.File, most int, pos func(token.Pos) fleet.Pos) *result.Node {
	if f == nil || file == nil || f.fields == nil {
		return nil
	}
	n := &result.Node{Kind: result.Struct}
	given := map[string][]*ast.Field{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.CommentGroup:
		case *ast.Package:
			n.Pos = pos(d.Pos())
		case *ast.Field:
			name, ok := plainName(d)
			if !ok {
				return nil
			}
			if given[name] == nil {
				n.Names = append(n.Names, name)
			}
			given[name] = append(given[name], d)
		default:
			return nil
		}
	}
	w := &fold{most - 1, pos}
	for _, name := range n.Names {
		part := w.merged(f.fields[name], given[name])
		if part == nil {
			return nil
		}
		n.Parts = append(n.Parts, part)
	}
	return n
}

// plainName is a field's name, if it is a regular field with nothing about it.
func plainName(f *ast.Field) (string, bool) {
	if f.Constraint != token.ILLEGAL || f.Alias != nil || len(f.Attrs) > 0 {
		return "", false
	}
	switch label := f.Label.(type) {
	case *ast.Ident:
		return label.Name, label.Name != "" && label.Name[0] != '_' && label.Name[0] != '#'
	case *ast.BasicLit:
		return plainText(label)
	}
	return "", false
}

// plainText is a string in double quotes, on one line and without escapes.
func plainText(x *ast.BasicLit) (string, bool) {
	v := x.Value
	if x.Kind != token.STRING || len(v) < 2 || v[0] != '"' || v[len(v)-1] != '"' ||
		strings.ContainsAny(v[1:len(v)-1], "\"\\\n\r") {
		return "", false
	}
	return v[1 : len(v)-1], true
}

// merged is a value that is given once, or a struct whose fields are given in several places.
func (w *fold) merged(f *Form, given []*ast.Field) *result.Node {
	if len(given) == 1 {
		return w.value(f, given[0])
	}
	var all []ast.Decl
	var at token.Pos
	for _, field := range given {
		s, ok := field.Value.(*ast.StructLit)
		if !ok {
			return nil
		}
		all, at = append(all, s.Elts...), s.Pos()
	}
	return w.structure(f, at, all)
}

func (w *fold) value(f *Form, field *ast.Field) *result.Node {
	switch x := field.Value.(type) {
	case *ast.StructLit:
		return w.structure(f, field.Pos(), x.Elts)
	case *ast.BasicLit:
		if text, ok := plainText(x); ok && f != nil && f.text != nil && f.text(text) {
			w.left--
			return &result.Node{Kind: result.String, Pos: w.pos(field.Pos()), Text: text}
		}
	}
	return nil
}

func (w *fold) structure(f *Form, at token.Pos, decls []ast.Decl) *result.Node {
	if w.left--; f == nil || f.text != nil || w.left < len(decls) {
		return nil
	}
	n := &result.Node{Kind: result.Struct, Pos: w.pos(at)}
	seen := make(map[string]bool, len(decls))
	for _, d := range decls {
		field, ok := d.(*ast.Field)
		if !ok {
			return nil
		}
		name, ok := plainName(field)
		if !ok || seen[name] {
			return nil
		}
		seen[name] = true
		of := f.fields[name]
		if f.names != nil && f.names(name) {
			of = f.of
		}
		part := w.value(of, field)
		if part == nil {
			return nil
		}
		n.Names, n.Parts = append(n.Names, name), append(n.Parts, part)
	}
	return n
}
