package result

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// Kind is the kind of a value.
type Kind uint8

// The kinds of values.
const (
	Null Kind = iota
	Bool
	Int
	Float
	String
	Bytes
	List
	Struct
)

// Node is a value, each part of it with its place. Methods that read take a nil *Node, which holds nothing.
type Node struct {
	Kind  Kind
	Pos   fleet.Pos
	Text  string   // a scalar: the string or bytes themselves, or the JSON literal
	Names []string // a struct: the names of its fields, as written
	Parts []*Node  // a struct: the values of its fields; a list: its items
}

// At is where n is written, or else where its first part is.
func (n *Node) At() fleet.Pos {
	if n == nil || !n.Pos.IsZero() {
		return n.pos()
	}
	for _, part := range n.Parts {
		if p := part.At(); !p.IsZero() {
			return p
		}
	}
	return fleet.Pos{}
}

func (n *Node) pos() fleet.Pos {
	if n == nil {
		return fleet.Pos{}
	}
	return n.Pos
}

// Get is a field of a struct, or nil.
func (n *Node) Get(name string) *Node {
	if n == nil {
		return nil
	}
	if i := slices.Index(n.Names, name); i >= 0 {
		return n.Parts[i]
	}
	return nil
}

// Fields yields the fields of a struct, as written.
func (n *Node) Fields() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if n == nil {
			return
		}
		for i, name := range n.Names {
			if !yield(name, n.Parts[i]) {
				return
			}
		}
	}
}

// ByName yields the fields of a struct in the order of their names.
func (n *Node) ByName() iter.Seq2[string, *Node] {
	return func(yield func(string, *Node) bool) {
		if n == nil {
			return
		}
		for _, i := range n.order() {
			if !yield(n.Names[i], n.Parts[i]) {
				return
			}
		}
	}
}

// order is the indices of a struct's fields by name.
func (n *Node) order() []int {
	order := make([]int, len(n.Names))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return strings.Compare(n.Names[i], n.Names[j]) })
	return order
}

// Items are the items of a list.
func (n *Node) Items() []*Node {
	if n == nil {
		return nil
	}
	return n.Parts
}

// Str is a string, or the literal of another scalar.
func (n *Node) Str() string {
	if n == nil {
		return ""
	}
	return n.Text
}

// Strs is a list of strings.
func (n *Node) Strs() []string {
	if n == nil {
		return nil
	}
	out := make([]string, len(n.Parts))
	for i, part := range n.Parts {
		out[i] = part.Text
	}
	return out
}

// True reports whether n is the literal true.
func (n *Node) True() bool { return n != nil && n.Kind == Bool && n.Text == "true" }

// JSON is n in canonical form: fields by name, no space. Equal values have equal bytes.
func (n *Node) JSON() json.RawMessage {
	var b bytes.Buffer
	n.write(&b)
	return b.Bytes()
}

func (n *Node) write(b *bytes.Buffer) {
	switch n.Kind {
	case String, Bytes:
		b.Write(Quote(n.Text))
	case List:
		b.WriteByte('[')
		for i, item := range n.Parts {
			if i > 0 {
				b.WriteByte(',')
			}
			item.write(b)
		}
		b.WriteByte(']')
	case Struct:
		b.WriteByte('{')
		first := true
		for name, field := range n.ByName() {
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.Write(Quote(name))
			b.WriteByte(':')
			field.write(b)
		}
		b.WriteByte('}')
	case Float:
		b.WriteString(n.Text)
		if !strings.ContainsAny(n.Text, ".eE") {
			b.WriteString(".0") // the literal says what it is
		}
	default:
		b.WriteString(n.Text)
	}
}

// Quote is fleet.Quote.
func Quote(s string) []byte { return fleet.Quote(s) }

// Values are the fields of a struct as the model has them.
func (n *Node) Values() map[string]fleet.Value {
	out := make(map[string]fleet.Value, len(n.Names))
	for name, field := range n.Fields() {
		out[name] = field.Value()
	}
	return out
}

// Value is n as the model has it. The JSON of its parts is within its own.
func (n *Node) Value() fleet.Value {
	v, _ := n.within(n.JSON())
	return v
}

// within is n as a value whose JSON b begins with, and what follows it in b.
func (n *Node) within(b []byte) (v fleet.Value, rest []byte) {
	v.Pos = n.At()
	switch n.Kind {
	case List:
		rest = b[1:]
		v.Items = make([]fleet.Value, len(n.Parts))
		for i, item := range n.Parts {
			v.Items[i], rest = item.within(rest)
			rest = rest[1:] // "," or "]"
		}
		if len(n.Parts) == 0 {
			rest = rest[1:]
		}
	case Struct:
		rest = b[1:]
		v.Fields = make([]fleet.Field, len(n.Parts))
		for i, at := range n.order() {
			v.Fields[i].Name = n.Names[at]
			v.Fields[i].Value, rest = n.Parts[at].within(rest[stringLength(rest)+1:]) // ":"
			rest = rest[1:]                                                           // "," or "}"
		}
		if len(n.Parts) == 0 {
			rest = rest[1:]
		}
	case String, Bytes:
		rest = b[stringLength(b):]
	default:
		end := bytes.IndexAny(b, ",]}")
		if end < 0 {
			end = len(b)
		}
		rest = b[end:]
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
