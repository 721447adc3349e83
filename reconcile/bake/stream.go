package bake

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"bakehouse/reconcile/bake/crc"
	"bakehouse/schema"
)

// gzipHeader has no name, no time, and 255 for the operating system: nothing of the machine (RFC 1952, 2.3).
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// stream is one gzip member put together from literals and finished segments. It has to be one member: dpkg reads the
// first of several and drops the rest without a word. All that has to be carried from part to part is the checksum, and
// what a literal may refer back to.
type stream struct {
	parts   []part
	crc     uint32
	raw     int64  // bytes inflated
	size    int64  // bytes as they stand
	history []byte // the end of what was inflated so far, at most a window
	grown   []byte // memory of two windows that ends with history; empty if history is elsewhere
}

// part is either literal bytes or a whole segment.
type part struct {
	data    []byte
	segment *segment
}

func (p part) size() int64 {
	if p.segment != nil {
		return p.segment.ref.Size
	}
	return int64(len(p.data))
}

func newStream() *stream {
	s := &stream{}
	s.write(gzipHeader)
	return s
}

// write appends bytes as they are, joined to a literal before them.
func (s *stream) write(b []byte) {
	s.size += int64(len(b))
	if n := len(s.parts); n > 0 && s.parts[n-1].segment == nil {
		s.parts[n-1].data = append(s.parts[n-1].data, b...)
		return
	}
	s.parts = append(s.parts, part{data: bytes.Clone(b)})
}

// embed appends a finished stream as it stands.
func (s *stream) embed(o *stream) {
	for _, p := range o.parts {
		if p.segment == nil {
			s.write(p.data)
			continue
		}
		s.size += p.size()
		s.parts = append(s.parts, p)
	}
}

// place appends a plain segment.
func (s *stream) place(g *segment) {
	s.size += g.ref.Size
	s.parts = append(s.parts, part{segment: g})
}

// splice appends a segment without touching its bytes.
func (s *stream) splice(g *segment) {
	s.crc = crc.Combine(s.crc, g.crc, g.ref.PayloadSize)
	s.raw += g.ref.PayloadSize
	s.size += g.ref.Size
	s.parts = append(s.parts, part{segment: g})
	s.remember(g.tail)
}

// literal appends bytes of this package only. They are compressed as what follows in the stream: the segment before them
// serves as their dictionary.
func (s *stream) literal(raw []byte, last bool) {
	s.crc = crc32.Update(s.crc, crc32.IEEETable, raw)
	s.raw += int64(len(raw))
	s.write(deflate(raw, s.history, last))
	s.remember(raw)
}

func (s *stream) remember(raw []byte) {
	if len(raw) >= window { // as behind most segments: nothing before counts
		s.history, s.grown = raw[len(raw)-window:], s.grown[:0]
		return
	}
	if len(s.grown) == 0 || len(s.grown)+len(raw) > cap(s.grown) {
		if s.grown == nil {
			s.grown = make([]byte, 0, 2*window)
		}
		s.grown = append(s.grown[:0], s.history...)
	}
	s.grown = append(s.grown, raw...)
	s.history = s.grown[max(0, len(s.grown)-window):]
}

// end appends the last literal, which ends the deflate stream, and the member's checksum and size.
func (s *stream) end(raw []byte) {
	s.literal(raw, true)
	s.write(binary.LittleEndian.AppendUint32(nil, s.crc))
	s.write(binary.LittleEndian.AppendUint32(nil, uint32(s.raw))) // modulo 2^32, RFC 1952
}

// schemaParts is the stream as a manifest has it.
func schemaParts(parts []part) []schema.Part {
	out := make([]schema.Part, len(parts))
	for i, p := range parts {
		if p.segment != nil {
			ref := p.segment.ref
			ref.Payload = schema.Digest{}
			out[i].Segment = &ref
			continue
		}
		out[i].Data = p.data
	}
	return out
}
