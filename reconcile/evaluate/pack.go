package evaluate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"bakehouse/schema/fleet"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/token"
)

// The form of a directory in the cache: numbers as varints, the files with the offsets of their lines, then the values in
// depth-first order. Strings and the lists of names of structs stand once and are referred to by number, so that a
// folder of a hundred hosts unpacks in a few allocations.

// packer writes that form.
type packer struct {
	b       []byte
	strings map[string]uint64
	shapes  map[string]uint64
	files   map[*token.File]uint64
	nodes   int
	fields  int
}

// pack is a directory that evaluated to n.
func pack(d *dir, n *node) []byte {
	p := &packer{strings: map[string]uint64{}, shapes: map[string]uint64{}, files: map[*token.File]uint64{}}
	p.count(n)
	p.text(d.pkg)
	p.number(uint64(len(d.files)))
	for _, f := range d.files {
		p.text(f.name)
		p.number(uint64(f.clause.Line))
		p.number(uint64(f.clause.Col))
	}
	p.number(uint64(p.nodes))
	p.number(uint64(p.fields))
	p.node(n)
	return p.b
}

func (p *packer) number(n uint64) { p.b = binary.AppendUvarint(p.b, n) }

// text writes a string: its number, and itself if the number is new.
func (p *packer) text(s string) {
	n, ok := p.strings[s]
	if !ok {
		n = uint64(len(p.strings))
		p.strings[s] = n
	}
	p.number(n)
	if !ok {
		p.number(uint64(len(s)))
		p.b = append(p.b, s...)
	}
}

func (p *packer) count(n *node) {
	p.nodes++
	p.fields += len(n.fields)
	for _, f := range n.fields {
		p.count(f)
	}
}

func (p *packer) pos(at token.Pos) {
	f := at.File()
	if f == nil || !at.IsValid() {
		p.number(0)
		return
	}
	n, ok := p.files[f]
	if !ok {
		n = uint64(len(p.files)) + 1
		p.files[f] = n
	}
	p.number(n)
	if !ok {
		p.text(f.Name())
		p.number(uint64(f.Size()))
		lines := f.Lines()
		p.number(uint64(len(lines)))
		last := 0
		for _, at := range lines {
			p.number(uint64(at - last))
			last = at
		}
	}
	p.number(uint64(at.Offset()))
}

func (p *packer) node(n *node) {
	p.number(uint64(n.kind))
	p.pos(n.pos)
	switch n.kind {
	case cue.StructKind:
		shape := strings.Join(n.names, "\x00")
		at, ok := p.shapes[shape]
		if !ok {
			at = uint64(len(p.shapes))
			p.shapes[shape] = at
		}
		p.number(at)
		if !ok {
			p.number(uint64(len(n.names)))
			for _, name := range n.names {
				p.text(name)
			}
		}
	case cue.ListKind:
		p.number(uint64(len(n.fields)))
	default:
		p.text(n.text)
	}
	for _, f := range n.fields {
		p.node(f)
	}
}

// unpacker reads it.
type unpacker struct {
	s       string
	strings []string
	shapes  [][]string
	files   []*token.File
	nodes   []node
	fields  []*node
	bad     bool
}

var errPacked = errors.New("not the form of a directory in the cache")

// unpack is the inverse of pack, for the directory of that path.
func unpack(path, s string) (d *dir, n *node, err error) {
	u := &unpacker{s: s}
	d = &dir{path: path, pkg: u.text()}
	for range u.count() {
		name := u.text()
		d.files = append(d.files, source{name: name, clause: fleet.Pos{File: name, Line: u.offset(), Col: u.offset()}})
	}
	u.nodes = make([]node, u.count())
	u.fields = make([]*node, u.count())
	n = u.node(0)
	if u.bad || len(u.s) > 0 || len(u.nodes) > 0 || len(u.fields) > 0 {
		return nil, nil, fmt.Errorf("%s: %w", path, errPacked)
	}
	return d, n, nil
}

func (u *unpacker) number() uint64 {
	var n uint64
	for i := 0; i < len(u.s) && i < 10; i++ {
		c := u.s[i]
		n |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			u.s = u.s[i+1:]
			return n
		}
	}
	u.bad, u.s = true, ""
	return 0
}

// count is a number of things that each take a byte at least, so that a damaged entry cannot ask for much memory.
func (u *unpacker) count() int {
	n := u.number()
	if n > uint64(len(u.s)) {
		u.bad, u.s = true, ""
		return 0
	}
	return int(n)
}

// offset is a place in a file, or a size of one.
func (u *unpacker) offset() int {
	n := u.number()
	if n > 1<<30 {
		u.bad, u.s = true, ""
		return 0
	}
	return int(n)
}

func (u *unpacker) text() string {
	n := u.number()
	if n < uint64(len(u.strings)) {
		return u.strings[n]
	}
	size := u.number()
	if n != uint64(len(u.strings)) || size > uint64(len(u.s)) {
		u.bad, u.s = true, ""
		return ""
	}
	s := u.s[:size]
	u.s = u.s[size:]
	u.strings = append(u.strings, s)
	return s
}

func (u *unpacker) pos() token.Pos {
	n := u.number()
	if n == 0 {
		return token.NoPos
	}
	if n == uint64(len(u.files))+1 {
		f := token.NewFile(u.text(), -1, u.offset())
		lines := make([]int, 0, u.count())
		last := 0
		for range cap(lines) {
			last += u.offset()
			lines = append(lines, last)
		}
		if !f.SetLines(lines) {
			u.bad = true
		}
		u.files = append(u.files, f)
	}
	offset := u.offset()
	if n > uint64(len(u.files)) || offset > u.files[n-1].Size() {
		u.bad, u.s = true, ""
		return token.NoPos
	}
	return u.files[n-1].Pos(offset, token.NoRelPos)
}

func (u *unpacker) node(depth int) *node {
	if len(u.nodes) == 0 || depth > 1000 {
		u.bad, u.s = true, ""
		return nil
	}
	n := &u.nodes[0]
	u.nodes = u.nodes[1:]
	n.kind = cue.Kind(u.number())
	n.pos = u.pos()
	size := 0
	switch n.kind {
	case cue.StructKind:
		at := u.number()
		if at == uint64(len(u.shapes)) {
			names := make([]string, 0, u.count())
			for range cap(names) {
				names = append(names, u.text())
			}
			u.shapes = append(u.shapes, names)
		}
		if at >= uint64(len(u.shapes)) {
			u.bad, u.s = true, ""
			return nil
		}
		n.names = u.shapes[at]
		size = len(n.names)
	case cue.ListKind:
		size = u.count()
	default:
		n.text = u.text()
	}
	if size > len(u.fields) {
		u.bad, u.s = true, ""
		return nil
	}
	if size > 0 {
		n.fields, u.fields = u.fields[:size:size], u.fields[size:]
	}
	for i := range n.fields {
		if n.fields[i] = u.node(depth + 1); u.bad {
			return nil
		}
	}
	return n
}
