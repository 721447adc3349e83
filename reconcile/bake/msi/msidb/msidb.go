// Package msidb writes the database of an installer package as the streams that a compound file keeps it in: a pool of
// strings, and tables of rows that point into it.
//
// Windows Installer wants rows in the order of their keys, strings by their place in the pool, and a codepage of ANSI:
// it says no more than 2219 or 1620 where either is wrong, and other readers take it.
package msidb

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"bakehouse/reconcile/bake/msi/cfb"
)

// Codepage is that of all text: what is written is ASCII, and is the same in it.
const Codepage = 1252

// Kind is a column's type: a string's greatest length or an integer's bytes, and flags.
type Kind uint16

// The flags of a column, as _Columns has them. i4 and binary columns lack 0x400.
const (
	valid    Kind = 0x100
	classic  Kind = 0x400
	text     Kind = 0x800
	localize Kind = 0x200
	Null     Kind = 0x1000
	Key      Kind = 0x2000

	I2 Kind = valid | classic | 2
	I4 Kind = valid | 4
	L0      = valid | classic | text | localize // text that may be translated, of any length
)

// S is text of at most n bytes; 0 is any number. L may be translated.
func S(n int) Kind { return valid | classic | text | Kind(n) }
func L(n int) Kind { return S(n) | localize }

func (k Kind) isText() bool { return k&text != 0 }

func (k Kind) width() int {
	if k.isText() {
		return 2
	}
	return int(k & 0xff)
}

// Column is one of a table's. Keys come first.
type Column struct {
	Name string
	Kind Kind
}

// Table is rows of values: string, int or nil. Own tells for a row and column whether its value differs between
// packages that are alike otherwise.
type Table struct {
	Name    string
	Columns []Column
	Rows    [][]any
	Own     func(row []any, column int) bool
}

// maxStrings is how many two bytes can tell apart.
const maxStrings = 65535

// pool is strings with their numbers, from 1.
type pool struct {
	index map[string]int
	list  []string
	uses  []int
}

func (p *pool) add(s string) error {
	if s == "" {
		return nil
	}
	for _, c := range []byte(s) {
		if c < ' ' || c >= 0x7f {
			return fmt.Errorf("text %.80q is not ASCII", s)
		}
	}
	i, ok := p.index[s]
	if !ok {
		if i = len(p.list); i == maxStrings {
			return fmt.Errorf("more than %d texts", maxStrings)
		}
		p.index[s], p.list, p.uses = i, append(p.list, s), append(p.uses, 0)
	}
	p.uses[i]++
	if p.uses[i] > 65535 || len(s) > 65535 {
		return fmt.Errorf("text %.80q is too long, or is used too often", s)
	}
	return nil
}

func (p *pool) number(s string) int {
	if s == "" {
		return 0
	}
	return p.index[s] + 1
}

var tablesTable = []Column{{"Name", S(64) | Key}}

var columnsTable = []Column{{"Table", S(64) | Key}, {"Number", I2 | Key}, {"Name", S(64)}, {"Type", I2}}

// Streams writes tables. The texts last come last in the pool, in that order: they are what differs between packages
// that are alike otherwise, and have to have the same lengths there.
func Streams(tables []Table, last []string) ([]cfb.Stream, error) {
	names, columns := Table{Name: "_Tables", Columns: tablesTable}, Table{Name: "_Columns", Columns: columnsTable}
	for _, t := range tables {
		names.Rows = append(names.Rows, []any{t.Name})
		for i, c := range t.Columns {
			columns.Rows = append(columns.Rows, []any{t.Name, i + 1, c.Name, int(c.Kind)})
		}
	}
	all := append([]Table{names, columns}, tables...)
	p := &pool{index: map[string]int{}}
	for _, late := range []bool{false, true} {
		order := last
		if !late {
			order = texts(all)
		}
		for _, s := range order {
			if late == slices.Contains(last, s) {
				if _, ok := p.index[s]; !ok {
					if err := p.add(s); err != nil {
						return nil, err
					}
					p.uses[p.index[s]] = 0 // counted below
				}
			}
		}
	}
	var streams []cfb.Stream
	for _, t := range all {
		s, err := t.stream(p)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", t.Name, err)
		}
		streams = append(streams, s)
	}
	counts := binary.LittleEndian.AppendUint32(nil, Codepage)
	var data []byte
	constant := 0
	for i, s := range p.list {
		counts = binary.LittleEndian.AppendUint16(counts, uint16(len(s)))
		counts = binary.LittleEndian.AppendUint16(counts, uint16(p.uses[i]))
		data = append(data, s...)
		if !slices.Contains(last, s) {
			constant = len(data)
		}
	}
	own := []cfb.Span{{From: constant, To: len(data)}}
	if constant == len(data) {
		own = nil
	}
	return append(streams, cfb.Stream{Name: TableName("_StringPool"), Data: counts},
		cfb.Stream{Name: TableName("_StringData"), Data: data, Own: own}), nil
}

// texts is all texts of tables, in the order of their first use.
func texts(tables []Table) (all []string) {
	seen := map[string]bool{"": true}
	for _, t := range tables {
		for _, row := range t.Rows {
			for _, v := range row {
				if s, ok := v.(string); ok && !seen[s] {
					seen[s], all = true, append(all, s)
				}
			}
		}
	}
	return all
}

// stream is a table's rows in the order of their keys, column by column.
func (t Table) stream(p *pool) (s cfb.Stream, err error) {
	rows := make([][]int, len(t.Rows)) // as they are written
	for i, row := range t.Rows {
		if len(row) != len(t.Columns) {
			return s, fmt.Errorf("a row of %d values", len(row))
		}
		for k, c := range t.Columns {
			n, err := c.encode(row[k], p)
			if err != nil {
				return s, fmt.Errorf("column %s: %w", c.Name, err)
			}
			rows[i] = append(rows[i], n)
		}
	}
	keys := 0
	for keys < len(t.Columns) && t.Columns[keys].Kind&Key != 0 {
		keys++
	}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return slices.Compare(rows[a][:keys], rows[b][:keys]) })
	for i := range order[:max(0, len(order)-1)] {
		if slices.Equal(rows[order[i]][:keys], rows[order[i+1]][:keys]) {
			return s, fmt.Errorf("two rows with the key %v", t.Rows[order[i]][:keys])
		}
	}
	s.Name = TableName(t.Name)
	for k, c := range t.Columns {
		for _, i := range order {
			from := len(s.Data)
			switch c.Kind.width() {
			case 2:
				s.Data = binary.LittleEndian.AppendUint16(s.Data, uint16(rows[i][k]))
			case 4:
				s.Data = binary.LittleEndian.AppendUint32(s.Data, uint32(rows[i][k]))
			}
			if t.Own != nil && t.Own(t.Rows[i], k) {
				s.Own = append(s.Own, cfb.Span{From: from, To: len(s.Data)})
			}
		}
	}
	return s, nil
}

// encode is a value as a table has it, unsigned.
func (c Column) encode(v any, p *pool) (int, error) {
	switch v := v.(type) {
	case nil:
		if c.Kind&Null == 0 {
			return 0, errors.New("is not nullable")
		}
		return 0, nil
	case string:
		if width := int(c.Kind & 0xff); !c.Kind.isText() || width > 0 && len(v) > width {
			return 0, fmt.Errorf("%.80q does not fit", v)
		}
		if v == "" && c.Kind&Null == 0 {
			return 0, errors.New("is empty")
		}
		return p.number(v), p.add(v)
	case int:
		switch {
		case c.Kind.isText():
		case c.Kind.width() == 2 && v > -1<<15 && v < 1<<15:
			return v&0xffff ^ 0x8000, nil
		case c.Kind.width() == 4 && v > -1<<31 && v < 1<<31:
			return int(uint32(v) ^ 0x80000000), nil
		}
	}
	return 0, fmt.Errorf("%v does not fit", v)
}

// TableName is the name of a table's stream, and StreamName of another one's: two characters to a unit.
func TableName(s string) cfb.Name { return append(cfb.Name{0x4840}, StreamName(s)...) }

// StreamName is the name of a stream that is no table.
func StreamName(s string) (n cfb.Name) {
	for i := 0; i < len(s); i++ {
		a, ok := digit(s[i])
		if !ok {
			n = append(n, uint16(s[i]))
			continue
		}
		if i+1 < len(s) {
			if b, ok := digit(s[i+1]); ok {
				n = append(n, 0x3800+a+b<<6)
				i++
				continue
			}
		}
		n = append(n, 0x4800+a)
	}
	return n
}

func digit(c byte) (uint16, bool) {
	switch {
	case c >= '0' && c <= '9':
		return uint16(c - '0'), true
	case c >= 'A' && c <= 'Z':
		return uint16(c-'A') + 10, true
	case c >= 'a' && c <= 'z':
		return uint16(c-'a') + 36, true
	case c == '.':
		return 62, true
	case c == '_':
		return 63, true
	}
	return 0, false
}

// Summary is what a package says of itself in front of its tables.
type Summary struct {
	Title, Subject, Author, Comments string
	Template                         string // such as "x64;1033"
	PackageCode                      string
	Time                             int64 // made and saved, in units of 100 ns since 1601
}

// Stream writes it as the property set that \005SummaryInformation is (MS-OLEPS).
func (s Summary) Stream() (cfb.Stream, error) {
	const i2, i4, str, filetime = 2, 3, 30, 64
	type property struct {
		id, kind uint32
		value    any
	}
	var ids, values []byte
	props := []property{{1, i2, Codepage}, {2, str, s.Title}, {3, str, s.Subject}, {4, str, s.Author},
		{5, str, "Installer"}, {6, str, s.Comments}, {7, str, s.Template}, {9, str, s.PackageCode},
		{12, filetime, s.Time}, {13, filetime, s.Time}, {14, i4, 200}, {15, i4, 2}, {18, str, "Bakehouse"}, {19, i4, 2}}
	le := binary.LittleEndian
	for _, p := range props {
		ids = le.AppendUint32(ids, p.id)
		ids = le.AppendUint32(ids, uint32(8+8*len(props)+len(values)))
		values = le.AppendUint32(values, p.kind)
		switch v := p.value.(type) {
		case int:
			values = le.AppendUint32(values, uint32(v))
		case int64:
			values = le.AppendUint64(values, uint64(v))
		case string:
			for _, c := range []byte(v) {
				if c < ' ' || c >= 0x7f {
					return cfb.Stream{}, fmt.Errorf("summary: %.80q is not ASCII", v)
				}
			}
			values = le.AppendUint32(values, uint32(len(v)+1))
			values = append(values, v...)
			values = append(values, make([]byte, 4-len(v)%4)...)
		}
	}
	b := []byte{0xfe, 0xff, 0, 0, 6, 0, 2, 0}
	b = append(b, make([]byte, 16)...)
	b = le.AppendUint32(b, 1)
	b = append(b, 0xe0, 0x85, 0x9f, 0xf2, 0xf9, 0x4f, 0x68, 0x10, 0xab, 0x91, 8, 0, 0x2b, 0x27, 0xb3, 0xd9)
	b = le.AppendUint32(b, 48)
	b = le.AppendUint32(b, uint32(8+len(ids)+len(values)))
	b = le.AppendUint32(b, uint32(len(props)))
	b = append(append(b, ids...), values...)
	var name cfb.Name
	for _, c := range "\x05SummaryInformation" {
		name = append(name, uint16(c))
	}
	return cfb.Stream{Name: name, Data: b, Own: []cfb.Span{{From: 0, To: len(b)}}}, nil
}

// Rows sorts what tables are made from, so that equal packages have equal pools.
func Rows(rows [][]any) [][]any {
	slices.SortFunc(rows, func(a, b []any) int { return cmp.Compare(fmt.Sprint(a...), fmt.Sprint(b...)) })
	return rows
}
