package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"
)

// node is a concrete CUE value as plain data, each part with its place, free of the context it came from.
type node struct {
	kind   cue.Kind
	pos    token.Pos
	text   string   // a scalar: the string itself, or the JSON literal
	names  []string // a struct: the names of its fields, as written
	fields []*node  // their values; of a list: its items
}

// toNode reads v, which belongs to a directory that evaluated without errors, unless it has more than most parts: CUE
// shares what it refers to twice, so a small file can stand for an exponentially large value.
func toNode(v cue.Value, most int) (*node, error) {
	left := most
	n, err := nodeOf(v, &left)
	if left < 0 {
		err = fmt.Errorf("larger than %d values", most)
	}
	if err != nil {
		return nil, err
	}
	return n, nil
}

var errTooLarge = errors.New("too large")

func nodeOf(v cue.Value, left *int) (*node, error) {
	if *left--; *left < 0 {
		return nil, errTooLarge
	}
	v, _ = v.Default()
	n := &node{kind: v.Kind(), pos: repoPos(v)}
	var err error
	switch n.kind {
	case cue.StringKind:
		n.text, err = v.String()
	case cue.BytesKind:
		var b []byte
		b, err = v.Bytes()
		n.text = string(b)
	case cue.NullKind, cue.BoolKind, cue.IntKind, cue.FloatKind:
		var b []byte
		b, err = v.MarshalJSON()
		n.text = string(b)
	case cue.ListKind:
		for items, _ := v.List(); err == nil && items.Next(); {
			var item *node
			item, err = nodeOf(items.Value(), left)
			n.fields = append(n.fields, item)
		}
	case cue.StructKind:
		var it *cue.Iterator
		it, err = v.Fields()
		for err == nil && it.Next() {
			var field *node
			field, err = nodeOf(it.Value(), left)
			n.names = append(n.names, it.Selector().Unquoted())
			n.fields = append(n.fields, field)
		}
	default:
		err = fmt.Errorf("%v is not a concrete value", v)
	}
	return n, err
}

// repoPos is the place of v that is in the repo, rather than in the schema.
func repoPos(v cue.Value) token.Pos {
	at := v.Pos()
	if at.IsValid() && !strings.HasPrefix(at.Filename(), schemaPrefix) {
		return at
	}
	_, parts := v.Expr()
	for _, part := range parts {
		if p := part.Pos(); p.IsValid() && !strings.HasPrefix(p.Filename(), schemaPrefix) {
			return p
		}
	}
	return token.NoPos
}

func posOf(p token.Pos) Pos {
	if !p.IsValid() {
		return Pos{}
	}
	q := p.Position()
	return Pos{File: q.Filename, Line: q.Line, Col: q.Column}
}

// at is where n stands, or else where its first part does.
func (n *node) at() Pos {
	if n == nil {
		return Pos{}
	}
	if n.pos.IsValid() {
		return posOf(n.pos)
	}
	for _, f := range n.fields {
		if p := f.at(); !p.IsZero() {
			return p
		}
	}
	return Pos{}
}

// get is a field of a struct, or nil. A nil node has no fields.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	if i := slices.Index(n.names, name); i >= 0 {
		return n.fields[i]
	}
	return nil
}

// pairs yields the fields of a struct; a node that is none has none.
func (n *node) pairs() iter.Seq2[string, *node] {
	return func(yield func(string, *node) bool) {
		if n == nil {
			return
		}
		for i, name := range n.names {
			if !yield(name, n.fields[i]) {
				return
			}
		}
	}
}

// str is a string, and empty for nil.
func (n *node) str() string {
	if n == nil {
		return ""
	}
	return n.text
}

// strs is a list of strings.
func (n *node) strs() []string {
	if n == nil {
		return nil
	}
	out := make([]string, len(n.fields))
	for i, f := range n.fields {
		out[i] = f.text
	}
	return out
}

// is reports whether n is the literal true.
func (n *node) is() bool { return n != nil && n.kind == cue.BoolKind && n.text == "true" }

// json is n in canonical form: fields by name, no space. Equal values have equal bytes.
func (n *node) json() json.RawMessage {
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

func (n *node) write(b *bytes.Buffer) {
	switch n.kind {
	case cue.StringKind, cue.BytesKind:
		b.Write(quote(n.text))
	case cue.ListKind:
		b.WriteByte('[')
		for i, f := range n.fields {
			if i > 0 {
				b.WriteByte(',')
			}
			f.write(b)
		}
		b.WriteByte(']')
	case cue.StructKind:
		b.WriteByte('{')
		for i, at := range n.order() {
			if i > 0 {
				b.WriteByte(',')
			}
			b.Write(quote(n.names[at]))
			b.WriteByte(':')
			n.fields[at].write(b)
		}
		b.WriteByte('}')
	default:
		b.WriteString(n.text)
	}
}

// quote is s as JSON, without the escapes that encoding/json adds for HTML.
func quote(s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// order is the indices of a struct's fields by name.
func (n *node) order() []int {
	order := make([]int, len(n.names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(n.names[i], n.names[j]) })
	return order
}

// expr is n as a CUE expression whose errors point to where n was written. Fields stand by name, so that what a plugin
// makes of them does not depend on how they were written. Every call makes a new tree: building one annotates it.
func (n *node) expr() ast.Expr {
	switch n.kind {
	case cue.StringKind:
		lit := ast.NewString(n.text)
		lit.ValuePos = n.pos
		return lit
	case cue.ListKind:
		list := &ast.ListLit{Lbrack: n.pos}
		for _, f := range n.fields {
			list.Elts = append(list.Elts, f.expr())
		}
		return list
	case cue.StructKind:
		st := &ast.StructLit{Lbrace: n.pos}
		for _, at := range n.order() {
			label := ast.NewString(n.names[at])
			label.ValuePos = n.fields[at].pos
			st.Elts = append(st.Elts, &ast.Field{Label: label, Value: n.fields[at].expr()})
		}
		return st
	case cue.BoolKind, cue.NullKind:
		kind := map[string]token.Token{"true": token.TRUE, "false": token.FALSE, "null": token.NULL}[n.text]
		return &ast.BasicLit{ValuePos: n.pos, Kind: kind, Value: n.text}
	}
	kind := token.INT
	if n.kind == cue.FloatKind {
		kind = token.FLOAT
	}
	lit := &ast.BasicLit{ValuePos: n.pos, Kind: kind, Value: strings.TrimPrefix(n.text, "-")}
	if lit.Value == n.text {
		return lit
	}
	return &ast.UnaryExpr{OpPos: n.pos, Op: token.SUB, X: lit}
}

// value is n as a parameter's value.
func (n *node) value() Value { return Value{JSON: n.json(), Pos: n.at(), node: n} }
