package msi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxPool  = 32 << 20 // bytes of text
	maxTable = 64 << 20
)

// nameOf is a stream's name: "!NAME" of a table, or as it is. Units from 0x3800 on are two characters, from 0x4800 on
// one, and 0x4840 in front tells a table.
func nameOf(units []uint16) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._"
	var b strings.Builder
	for i, u := range units {
		switch {
		case u == 0x4840 && i == 0:
			b.WriteByte('!')
		case u >= 0x3800 && u < 0x4800:
			b.WriteByte(digits[(u-0x3800)&0x3f])
			b.WriteByte(digits[(u-0x3800)>>6])
		case u >= 0x4800 && u < 0x4840:
			b.WriteByte(digits[u-0x4800])
		default:
			b.WriteRune(rune(u))
		}
	}
	return b.String()
}

// ansi are the codepages that Windows Installer takes for a database; 0 is any.
var ansi = []uint32{0, 874, 932, 936, 949, 950, 1250, 1251, 1252, 1253, 1254, 1255, 1256, 1257, 1258}

// Value is one of a row: text or a number, or neither.
type Value struct {
	Text   string
	Number int
	Null   bool
	id     uint32 // as it is stored, by which rows are in order
}

// column is one of a table's.
type column struct {
	name string
	kind uint16
}

func (c column) text() bool { return c.kind&0x800 != 0 }
func (c column) key() bool  { return c.kind&0x2000 != 0 }
func (c column) null() bool { return c.kind&0x1000 != 0 }

// width is in bytes; 0 for a kind that is not known.
func (c column) width() int {
	switch size := c.kind & 0xff; {
	case c.text() || c.kind&0x900 == 0x900 || size == 2:
		return 2
	case size == 4:
		return 4
	}
	return 0
}

// table is rows by column.
type table struct {
	columns []column
	rows    [][]Value
}

func (t *table) column(name string) int {
	return slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
}

// database is the texts and tables of a package.
type database struct {
	texts  []string // from 1
	counts []int    // as the pool says
	found  []int    // as they are
	tables map[string]*table
	minor  []string
}

var (
	tablesColumns = []column{{"Name", 0x2d40}}
	columnColumns = []column{{"Table", 0x2d40}, {"Number", 0x2502}, {"Name", 0xd40}, {"Type", 0x502}}
)

func openDatabase(streams map[string]stream) (*database, error) {
	d := &database{tables: map[string]*table{}}
	read := func(name string, most int64) ([]byte, error) {
		s, ok := streams["!"+name]
		if !ok {
			return nil, fmt.Errorf("table %s is missing", name)
		}
		b, err := s.bytes(most)
		if err != nil {
			return nil, fmt.Errorf("table %s: %w", name, err)
		}
		return b, nil
	}
	pool, err := read("_StringPool", 4*(1<<16))
	if err != nil {
		return nil, err
	}
	data, err := read("_StringData", maxPool)
	if err != nil {
		return nil, err
	}
	if err := d.pool(pool, data); err != nil {
		return nil, fmt.Errorf("texts: %w", err)
	}
	parse := func(name string, columns []column) error {
		b, err := read(name, maxTable)
		if err != nil {
			return err
		}
		t, err := d.parse(b, columns)
		if err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
		d.tables[name] = t
		return nil
	}
	if err := errors.Join(parse("_Tables", tablesColumns), parse("_Columns", columnColumns)); err != nil {
		return nil, err
	}
	columns := map[string][]column{}
	for _, row := range d.tables["_Columns"].rows {
		of := row[0].Text
		if row[1].Number != len(columns[of])+1 {
			return nil, fmt.Errorf("table %s: its columns are not numbered from 1", of)
		}
		columns[of] = append(columns[of], column{row[2].Text, uint16(row[3].Number)})
	}
	for _, row := range d.tables["_Tables"].rows {
		name := row[0].Text
		if _, ok := d.tables[name]; ok || len(columns[name]) == 0 {
			return nil, fmt.Errorf("table %s is there twice, or has no columns", name)
		}
		if _, ok := streams["!"+name]; !ok { // nothing is in it
			d.tables[name] = &table{columns: columns[name]}
		} else if err := parse(name, columns[name]); err != nil {
			return nil, err
		}
		delete(columns, name)
	}
	for name := range columns {
		return nil, fmt.Errorf("columns of a table %s that is not there", name)
	}
	for name := range streams {
		if t, ok := strings.CutPrefix(name, "!"); ok && d.tables[t] == nil && t != "_StringPool" && t != "_StringData" {
			return nil, fmt.Errorf("rows of a table %.80q that is not there", t)
		}
	}
	if !slices.Equal(d.counts, d.found) {
		d.minor = append(d.minor, "the pool counts the uses of its texts otherwise than the tables have them")
	}
	return d, nil
}

func (d *database) pool(pool, data []byte) error {
	if len(pool) < 4 || len(pool)%4 != 0 {
		return errors.New("the pool is cut short")
	}
	le := binary.LittleEndian
	if cp := le.Uint32(pool); !slices.Contains(ansi, cp) {
		return fmt.Errorf("codepage %d is none that Windows Installer takes", cp)
	}
	d.texts, d.counts = []string{""}, []int{0}
	for pool = pool[4:]; len(pool) > 0; pool = pool[4:] {
		length, uses := int(le.Uint16(pool)), int(le.Uint16(pool[2:]))
		if length == 0 && uses > 0 {
			return errors.New("a text of 64 KiB or more")
		}
		if length > len(data) {
			return errors.New("the texts are cut short")
		}
		d.texts, d.counts, data = append(d.texts, string(data[:length])), append(d.counts, uses), data[length:]
	}
	d.found = make([]int, len(d.texts))
	if len(data) > 0 {
		return fmt.Errorf("%d bytes behind the last text", len(data))
	}
	return nil
}

// parse reads a table's rows, which lie column by column in the order of their keys.
func (d *database) parse(b []byte, columns []column) (*table, error) {
	t, width, keys := &table{columns: columns}, 0, 0
	for i, c := range columns {
		if c.width() == 0 {
			return nil, fmt.Errorf("column %s has a type that is not known: %#x", c.name, c.kind)
		}
		width += c.width()
		if c.key() {
			if keys != i {
				return nil, fmt.Errorf("column %s is a key behind others", c.name)
			}
			keys++
		}
	}
	if keys == 0 || len(b)%width != 0 {
		return nil, fmt.Errorf("%d bytes are no rows of %d bytes", len(b), width)
	}
	t.rows = make([][]Value, len(b)/width)
	for i := range t.rows {
		t.rows[i] = make([]Value, len(columns))
	}
	for k, c := range columns {
		for i := range t.rows {
			v, err := d.value(b, c)
			if err != nil {
				return nil, fmt.Errorf("row %d, column %s: %w", i+1, c.name, err)
			}
			t.rows[i][k], b = v, b[c.width():]
		}
	}
	for i := 1; i < len(t.rows); i++ {
		order := slices.CompareFunc(t.rows[i-1][:keys], t.rows[i][:keys], func(a, b Value) int {
			return int(int64(a.id) - int64(b.id))
		})
		if order >= 0 {
			return nil, fmt.Errorf("row %d is not in the order of keys, or has the key of the one before", i+1)
		}
	}
	return t, nil
}

func (d *database) value(b []byte, c column) (v Value, err error) {
	le := binary.LittleEndian
	if c.width() == 2 {
		v.id = uint32(le.Uint16(b))
	} else {
		v.id = le.Uint32(b)
	}
	v.Null = v.id == 0
	switch {
	case v.Null && !c.null():
		return v, errors.New("it is empty, and may not be")
	case v.Null:
	case c.text():
		if int(v.id) >= len(d.texts) || d.counts[v.id] == 0 {
			return v, fmt.Errorf("there is no text %d", v.id)
		}
		v.Text = d.texts[v.id]
		d.found[v.id]++
		if most := int(c.kind & 0xff); most > 0 && len(v.Text) > most {
			return v, fmt.Errorf("a text of more than %d bytes", most)
		}
	case c.width() == 2:
		v.Number = int(int16(v.id ^ 0x8000))
	default:
		v.Number = int(int32(v.id ^ 0x80000000))
	}
	return v, nil
}
