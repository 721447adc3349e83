package engine

import (
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Parts is where the values are of which the files of a directory are made, in order: those of fields, the items of
// lists, the conditions. Source.Parts evaluates the first of them alone.
func Parts(src *result.Source) []fleet.Pos {
	all := *src
	all.Parts = 0
	d, _ := parseDir(&all)
	p := &parts{}
	for _, f := range d.files {
		if parsed, err := parse(f.Name, f.Data); err == nil {
			p.decls(parsed.Decls)
		}
	}
	return p.at
}

// parts walks the values of files.
type parts struct {
	keep int // how many stay; 0: all
	at   []fleet.Pos
}

func (p *parts) decls(decls []ast.Decl) {
	for _, d := range decls {
		switch d := d.(type) {
		case *ast.Field:
			d.Value = p.expr(d.Value)
		case *ast.EmbedDecl:
			d.Expr = p.expr(d.Expr)
		case *ast.LetClause:
			d.Expr = p.expr(d.Expr)
		case *ast.Comprehension:
			p.comprehension(d)
		}
	}
}

func (p *parts) comprehension(c *ast.Comprehension) {
	for _, clause := range c.Clauses {
		switch clause := clause.(type) {
		case *ast.ForClause:
			clause.Source = p.expr(clause.Source)
		case *ast.IfClause:
			clause.Condition = p.expr(clause.Condition)
		case *ast.LetClause:
			clause.Expr = p.expr(clause.Expr)
		}
	}
	c.Value = p.expr(c.Value)
}

// expr walks into what has parts, and is x itself, or something open if x is not among those to keep.
func (p *parts) expr(x ast.Expr) ast.Expr {
	switch x := x.(type) {
	case *ast.StructLit:
		p.decls(x.Elts)
	case *ast.ListLit:
		for i := range x.Elts {
			if _, ok := x.Elts[i].(*ast.Ellipsis); !ok {
				x.Elts[i] = p.expr(x.Elts[i])
			}
		}
	case *ast.Comprehension:
		p.comprehension(x)
	case *ast.ParenExpr:
		x.X = p.expr(x.X)
	case *ast.Alias:
		x.Expr = p.expr(x.Expr)
	default:
		if b, ok := x.(*ast.BinaryExpr); ok && b.Op == token.AND {
			b.X, b.Y = p.expr(b.X), p.expr(b.Y)
			return b
		}
		if x == nil {
			return nil
		}
		p.at = append(p.at, posOf(x.Pos()))
		if p.keep > 0 && len(p.at) > p.keep {
			return open(x)
		}
	}
	return x
}

// open is `[if false {x}, _][0]`: anything at all. x stays in it, so that what it refers to remains in use.
func open(x ast.Expr) ast.Expr {
	never := &ast.Comprehension{Clauses: []ast.Clause{&ast.IfClause{Condition: ast.NewBool(false)}},
		Value: &ast.StructLit{Elts: []ast.Decl{&ast.EmbedDecl{Expr: x}}}}
	return &ast.IndexExpr{X: &ast.ListLit{Elts: []ast.Expr{never, ast.NewIdent("_")}},
		Index: ast.NewLit(token.INT, "0")}
}
