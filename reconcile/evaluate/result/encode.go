package result

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"bakehouse/schema/fleet"
)

// The form: numbers as varints; strings and the lists of names of structs are written once and referred to by number,
// so that a folder of a hundred hosts is read in a few allocations. A list is its length and its parts, a value its
// kind, its place and its content, depth first.

// Encode gives a directory the form of bytes.
func Encode(d *Directory) []byte {
	e := newEncoder()
	e.text(d.Package)
	list(e, d.Clauses, e.pos)
	e.optional(d.Value != nil, func() { e.tree(d.Value) })
	e.optional(d.Plugin != nil, func() { e.plugin(d.Plugin) })
	list(e, d.Problems, func(p fleet.Problem) {
		e.pos(p.Pos)
		e.text(p.Msg)
		e.text(p.Hint)
		list(e, p.Also, e.pos)
		list(e, p.Path, e.text)
	})
	e.bool(d.Broken)
	return e.b
}

// EncodeNode gives a value the form of bytes.
func EncodeNode(n *Node) []byte {
	e := newEncoder()
	e.tree(n)
	return e.b
}

type encoder struct {
	b       []byte
	strings map[string]uint64
	shapes  map[string]uint64
}

func newEncoder() *encoder {
	return &encoder{strings: map[string]uint64{}, shapes: map[string]uint64{}}
}

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) bool(b bool) {
	if b {
		e.number(1)
	} else {
		e.number(0)
	}
}

func (e *encoder) optional(there bool, write func()) {
	e.bool(there)
	if there {
		write()
	}
}

func list[T any](e *encoder, items []T, write func(T)) {
	e.number(uint64(len(items)))
	for _, item := range items {
		write(item)
	}
}

// text writes a string: its number, and itself if the number is new.
func (e *encoder) text(s string) {
	n, ok := e.strings[s]
	if !ok {
		n = uint64(len(e.strings))
		e.strings[s] = n
	}
	e.number(n)
	if !ok {
		e.number(uint64(len(s)))
		e.b = append(e.b, s...)
	}
}

func (e *encoder) pos(p fleet.Pos) {
	e.text(p.File)
	if p.File != "" {
		e.number(uint64(p.Line))
		e.number(uint64(p.Col))
	}
}

func (e *encoder) plugin(p *Plugin) {
	e.text(p.Doc)
	e.text(string(p.Combine))
	list(e, p.Params, func(p fleet.Param) {
		e.text(p.Name)
		e.text(p.Type)
		e.text(p.Default)
		e.text(p.Doc)
		e.bool(p.Required)
		e.bool(p.Secret)
		list(e, p.Secrets, func(s fleet.PartPath) { list(e, s, e.text) })
		list(e, p.Forms, func(f fleet.Form) {
			list(e, f.Path, e.text)
			e.text(f.Name)
		})
		e.bool(p.ByKey)
		e.pos(p.Pos)
	})
	list(e, slices.Sorted(maps.Keys(p.Reads)), func(input string) {
		e.text(input)
		list(e, p.Reads[input], e.text)
	})
}

// tree writes a value, after how many nodes and parts it has.
func (e *encoder) tree(n *Node) {
	var nodes, parts uint64
	var count func(n *Node)
	count = func(n *Node) {
		nodes, parts = nodes+1, parts+uint64(len(n.Parts))
		for _, part := range n.Parts {
			count(part)
		}
	}
	count(n)
	e.number(nodes)
	e.number(parts)
	e.node(n)
}

func (e *encoder) node(n *Node) {
	e.number(uint64(n.Kind))
	e.pos(n.Pos)
	switch n.Kind {
	case Struct:
		shape := shapeKey(n.Names)
		at, ok := e.shapes[shape]
		if !ok {
			at = uint64(len(e.shapes))
			e.shapes[shape] = at
		}
		e.number(at)
		if !ok {
			list(e, n.Names, e.text)
		}
	case List:
		e.number(uint64(len(n.Parts)))
	default:
		e.text(n.Text)
	}
	for _, part := range n.Parts {
		e.node(part)
	}
}

// shapeKey is equal for equal lists of names only.
func shapeKey(names []string) string {
	var b []byte
	for _, name := range names {
		b = binary.AppendUvarint(b, uint64(len(name)))
		b = append(b, name...)
	}
	return string(b)
}

// ErrForm is returned for bytes that are not what Encode or EncodeNode makes.
var ErrForm = errors.New("not the form of what CUE evaluated to")

// Decode is the inverse of Encode. Strings of the result are parts of s.
func Decode(s string) (*Directory, error) {
	u := &decoder{s: s}
	d := &Directory{Package: u.text()}
	d.Clauses = items(u, u.pos)
	if u.bool() {
		d.Value = u.tree()
	}
	if u.bool() {
		d.Plugin = u.plugin()
	}
	d.Problems = items(u, func() fleet.Problem {
		return fleet.Problem{Pos: u.pos(), Msg: u.text(), Hint: u.text(), Also: items(u, u.pos),
			Path: items(u, u.text)}
	})
	d.Broken = u.bool()
	return d, u.end()
}

// DecodeNode is the inverse of EncodeNode.
func DecodeNode(s string) (*Node, error) {
	u := &decoder{s: s}
	n := u.tree()
	return n, u.end()
}

type decoder struct {
	s       string
	strings []string
	shapes  [][]string
	nodes   []Node
	parts   []*Node
	bad     bool
}

func (u *decoder) fail() { u.bad, u.s = true, "" }

func (u *decoder) end() error {
	if u.bad || len(u.s) > 0 {
		return ErrForm
	}
	return nil
}

func (u *decoder) number() uint64 {
	var n uint64
	for i := 0; i < len(u.s) && i < 10; i++ {
		c := u.s[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.s = u.s[i+1:]
			return n
		}
	}
	u.fail()
	return 0
}

// count is a number of things that each take a byte at least, so that a damaged entry cannot ask for much memory.
func (u *decoder) count() int {
	n := u.number()
	if n > uint64(len(u.s)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *decoder) bool() bool {
	n := u.number()
	if n > 1 {
		u.fail()
	}
	return n == 1
}

func items[T any](u *decoder, read func() T) []T {
	n := u.count()
	if n == 0 {
		return nil
	}
	out := make([]T, 0, n)
	for range n {
		if u.bad {
			return nil
		}
		out = append(out, read())
	}
	return out
}

func (u *decoder) text() string {
	n := u.number()
	if n < uint64(len(u.strings)) {
		return u.strings[n]
	}
	size := u.number()
	if n != uint64(len(u.strings)) || size > uint64(len(u.s)) {
		u.fail()
		return ""
	}
	s := u.s[:size]
	u.s = u.s[size:]
	u.strings = append(u.strings, s)
	return s
}

func (u *decoder) pos() fleet.Pos {
	p := fleet.Pos{File: u.text()}
	if p.File != "" {
		p.Line, p.Col = u.place(), u.place()
	}
	return p
}

// place is the number of a line or column.
func (u *decoder) place() int {
	n := u.number()
	if n > 1<<30 {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *decoder) plugin() *Plugin {
	p := &Plugin{Doc: u.text(), Combine: fleet.Combine(u.text())}
	p.Params = items(u, func() fleet.Param {
		return fleet.Param{Name: u.text(), Type: u.text(), Default: u.text(), Doc: u.text(), Required: u.bool(),
			Secret: u.bool(), Secrets: items(u, func() fleet.PartPath { return items(u, u.text) }),
			Forms: items(u, func() fleet.Form { return fleet.Form{Path: items(u, u.text), Name: u.text()} }),
			ByKey: u.bool(), Pos: u.pos()}
	})
	p.Reads = map[string][]string{}
	for range u.count() {
		input := u.text()
		p.Reads[input] = items(u, u.text)
	}
	return p
}

func (u *decoder) tree() *Node {
	u.nodes = make([]Node, u.count())
	u.parts = make([]*Node, u.count())
	n := u.node(0)
	if len(u.nodes) > 0 || len(u.parts) > 0 {
		u.fail()
	}
	return n
}

// maxDepth bounds how deep values are within one another.
const maxDepth = 1000

func (u *decoder) node(depth int) *Node {
	if len(u.nodes) == 0 || depth > maxDepth {
		u.fail()
		return nil
	}
	n := &u.nodes[0]
	u.nodes = u.nodes[1:]
	kind := u.number()
	if kind > uint64(Struct) {
		u.fail()
		return nil
	}
	n.Kind = Kind(kind)
	n.Pos = u.pos()
	size := 0
	switch n.Kind {
	case Struct:
		n.Names = u.shape()
		size = len(n.Names)
	case List:
		size = u.count()
	default:
		n.Text = u.text()
	}
	if size > len(u.parts) {
		u.fail()
		return nil
	}
	if size > 0 {
		n.Parts, u.parts = u.parts[:size:size], u.parts[size:]
	}
	for i := range n.Parts {
		if n.Parts[i] = u.node(depth + 1); u.bad {
			return nil
		}
	}
	return n
}

// shape is the names of a struct's fields.
func (u *decoder) shape() []string {
	at := u.number()
	if at == uint64(len(u.shapes)) {
		u.shapes = append(u.shapes, items(u, u.text))
	}
	if at >= uint64(len(u.shapes)) {
		u.fail()
		return nil
	}
	return u.shapes[at]
}
