package bins

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"bakehouse/schema"
)

// A record is what Read found, without names, numbers in variable length and each site and ring once: a quarter of the
// file, and nothing in it needs to be checked again. Who keeps records must see to it that they are those kept.

// Encode makes the record of a bin that Read returned; its digest is not in it.
func (b *Bin) Encode() []byte {
	e := &encoder{words: map[string]uint64{}}
	e.int(b.Version)
	e.int(b.Expires.Unix())
	e.uint(uint64(len(b.Signers)))
	for _, id := range b.Signers {
		e.text(id)
	}
	e.uint(uint64(len(b.Hosts)))
	for i := range b.Hosts {
		a := &b.Hosts[i]
		e.text(a.Host)
		e.candidate(schema.Candidate{SHA256: a.SHA256, Length: a.Length, Manifest: a.Manifest, Recipe: a.Recipe,
			Release: a.Release, Since: a.Since})
		e.word(a.Site)
		e.word(a.Ring)
		n := uint64(len(a.Older)) << 1
		if a.Selected {
			n |= 1
		}
		if len(a.Was) > 0 {
			n |= hasWas
		}
		e.uint(n)
		for _, c := range a.Older {
			e.candidate(c)
		}
		if len(a.Was) > 0 {
			e.uint(uint64(len(a.Was)))
			for _, name := range a.Was {
				e.text(name)
			}
		}
	}
	return e.b
}

// Decode reads a record of the bin whose file has that digest.
func Decode(record string, file schema.Digest) (*Bin, error) {
	d := &decoder{s: record}
	b := &Bin{SHA256: file, Version: d.int(), Expires: time.Unix(d.int(), 0).UTC()}
	for range d.count(1) {
		b.Signers = append(b.Signers, d.text())
	}
	n := d.count(minHost)
	b.Hosts = make([]schema.Assignment, n)
	for i := range b.Hosts {
		a := &b.Hosts[i]
		a.Host = d.text()
		c := d.candidate()
		a.SHA256, a.Length, a.Manifest, a.Recipe, a.Release, a.Since = c.SHA256, c.Length, c.Manifest, c.Recipe,
			c.Release, c.Since
		a.Site, a.Ring = d.word(), d.word()
		more := d.uint()
		a.Selected = more&1 == 1
		if older := more &^ hasWas >> 1; older > schema.MaxOlder {
			d.bad = true
		} else if older > 0 {
			a.Older = make([]schema.Candidate, older)
			for j := range a.Older {
				a.Older[j] = d.candidate()
			}
		}
		if more&hasWas != 0 {
			a.Was = make([]string, d.count(1))
			for j := range a.Was {
				a.Was[j] = d.text()
			}
		}
		if d.bad {
			break
		}
	}
	if d.bad || d.s != "" {
		return nil, errors.New("not a record of a bin")
	}
	return b, nil
}

// hasWas is the bit of what is said of a host's older candidates that tells of former names after them.
const hasWas = 1 << 3

// minHost is how many bytes a host has in a record at least.
const minHost = 2 * len(schema.Digest{})

type encoder struct {
	b     []byte
	words map[string]uint64 // that were written, by place
}

func (e *encoder) uint(n uint64) { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)   { e.b = binary.AppendVarint(e.b, n) }

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.b = append(e.b, s...)
}

// word writes a string that comes again: the first time as 0 and itself, then as its place from 1 on.
func (e *encoder) word(s string) {
	n := e.words[s]
	e.uint(n)
	if n == 0 {
		e.text(s)
		e.words[s] = uint64(len(e.words) + 1)
	}
}

func (e *encoder) candidate(c schema.Candidate) {
	e.b = append(e.b, c.SHA256[:]...)
	e.b = append(e.b, c.Manifest[:]...)
	e.b, _ = hex.AppendDecode(e.b, []byte(c.Recipe)) // valid, as Read found it
	e.int(c.Length)
	e.int(c.Release)
	e.int(c.Since.Unix())
}

type decoder struct {
	s     string
	bad   bool
	words []string
}

func (d *decoder) next(n int) string {
	if n < 0 || n > len(d.s) {
		d.bad, d.s = true, ""
		return ""
	}
	text := d.s[:n]
	d.s = d.s[n:]
	return text
}

func (d *decoder) uint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		c := d.next(1)
		if d.bad {
			return 0
		}
		n |= uint64(c[0]&0x7f) << shift
		if c[0] < 0x80 {
			return n
		}
	}
	d.bad = true
	return 0
}

func (d *decoder) int() int64 {
	n := d.uint()
	return int64(n>>1) ^ -int64(n&1)
}

// count is a number of things, each of at least that many bytes.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.s)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

// text copies what it returns: the record is not held.
func (d *decoder) text() string {
	n := d.count(1)
	return string([]byte(d.next(n)))
}

func (d *decoder) word() string {
	n := d.uint()
	if n > uint64(len(d.words)) {
		d.bad = true
		return ""
	}
	if n == 0 {
		d.words = append(d.words, d.text())
		return d.words[len(d.words)-1]
	}
	return d.words[n-1]
}

func (d *decoder) candidate() (c schema.Candidate) {
	copy(c.SHA256[:], d.next(len(c.SHA256)))
	copy(c.Manifest[:], d.next(len(c.Manifest)))
	c.Recipe = schema.RecipeID(hex.EncodeToString([]byte(d.next(8))))
	c.Length, c.Release = d.int(), d.int()
	c.Since = time.Unix(d.int(), 0).UTC()
	return c
}
