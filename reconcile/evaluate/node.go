package evaluate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
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

func posOf(p token.Pos) fleet.Pos {
	if !p.IsValid() {
		return fleet.Pos{}
	}
	q := p.Position()
	return fleet.Pos{File: q.Filename, Line: q.Line, Col: q.Column}
}

// at is where n stands, or else where its first part does.
func (n *node) at() fleet.Pos {
	if n == nil {
		return fleet.Pos{}
	}
	if n.pos.IsValid() {
		return posOf(n.pos)
	}
	for _, f := range n.fields {
		if p := f.at(); !p.IsZero() {
			return p
		}
	}
	return fleet.Pos{}
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

// value is n as the model has it. The JSON of its parts is within its own.
func (n *node) value() fleet.Value {
	v, _ := n.within(n.json())
	return v
}

// within is n as a value whose JSON b begins with, and what follows it in b.
func (n *node) within(b []byte) (v fleet.Value, rest []byte) {
	v.Pos = n.at()
	switch n.kind {
	case cue.ListKind:
		rest = b[1:]
		v.Items = make([]fleet.Value, len(n.fields))
		for i, item := range n.fields {
			v.Items[i], rest = item.within(rest)
			rest = rest[1:] // "," or "]"
		}
		if len(n.fields) == 0 {
			rest = rest[1:]
		}
	case cue.StructKind:
		rest = b[1:]
		v.Fields = make([]fleet.Field, len(n.fields))
		for i, at := range n.order() {
			v.Fields[i].Name = n.names[at]
			v.Fields[i].Value, rest = n.fields[at].within(rest[stringLength(rest)+1:]) // ":"
			rest = rest[1:]                                                            // "," or "}"
		}
		if len(n.fields) == 0 {
			rest = rest[1:]
		}
	case cue.StringKind, cue.BytesKind:
		rest = b[stringLength(b):]
	default:
		rest = b[len(n.text):]
	}
	size := len(b) - len(rest)
	v.JSON = b[:size:size]
	return v, rest
}

// stringLength is how many bytes the JSON string is long that b begins with.
func stringLength(b []byte) int {
	i := 1
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
	}
	return i + 1
}
