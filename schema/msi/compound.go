package msi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode"
)

const (
	sectorSize = 512
	miniSize   = 64
	cutoff     = 4096 // streams below it have mini sectors
	perSector  = sectorSize / 4
	inHeader   = 109

	freeSector  = 0xffffffff
	chainEnd    = 0xfffffffe
	tableSector = 0xfffffffd
	listSector  = 0xfffffffc
	noEntry     = 0xffffffff

	maxEntries = 1 << 16 // of a directory
)

// compound is a compound file (MS-CFB, version 3).
type compound struct {
	r       io.ReaderAt
	sectors int
	fat     []uint32
	used    []bool
	miniFAT []uint32
	miniHas []bool
	mini    stream
	class   [16]byte
	streams map[string]stream // by name, in UTF-16 as runes
	minor   []string
}

// stream is where a stream's bytes are.
type stream struct {
	of      io.ReaderAt
	sectors []uint32
	unit    int64 // bytes of a sector
	offset  int64 // of sector 0
	size    int64
}

// ReadAt implements io.ReaderAt.
func (s stream) ReadAt(b []byte, at int64) (n int, err error) {
	if at < 0 {
		return 0, errors.New("a negative offset")
	}
	for n < len(b) {
		if at >= s.size {
			return n, io.EOF
		}
		within := at % s.unit
		part := b[n:min(int64(len(b)), int64(n)+s.unit-within, int64(n)+s.size-at)]
		k, err := s.of.ReadAt(part, s.offset+int64(s.sectors[at/s.unit])*s.unit+within)
		n, at = n+k, at+int64(k)
		if k < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return n, err
		}
	}
	return n, nil
}

// bytes is all of a stream that has at most so many bytes.
func (s stream) bytes(most int64) ([]byte, error) {
	if s.size > most {
		return nil, fmt.Errorf("a stream of %d bytes, where %d are all", s.size, most)
	}
	b := make([]byte, s.size)
	if _, err := s.ReadAt(b, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

func openCompound(r io.ReaderAt, size int64) (*compound, error) {
	if size < 3*sectorSize || size%sectorSize != 0 || size > 1<<32 {
		return nil, fmt.Errorf("%d bytes are no whole sectors of a compound file", size)
	}
	c := &compound{r: r, sectors: int(size/sectorSize) - 1, streams: map[string]stream{}}
	c.used = make([]bool, c.sectors)
	h := make([]byte, sectorSize)
	if _, err := r.ReadAt(h, 0); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(h[:8]) != "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" {
		return nil, errors.New("it does not begin as a compound file")
	}
	// Version 3, little-endian, sectors of 512 and 64 bytes; what is reserved, and the directory's number of sectors
	// and the transaction, which version 3 has not, are zero.
	if string(h[26:34]) != "\x03\x00\xfe\xff\x09\x00\x06\x00" || string(h[34:44]) != string(make([]byte, 10)) ||
		le.Uint32(h[52:]) != 0 || le.Uint32(h[56:]) != cutoff {
		return nil, errors.New("not a compound file of version 3 with sectors of 512 bytes")
	}
	if err := c.table(h); err != nil {
		return nil, err
	}
	directory, err := c.chain(le.Uint32(h[48:]), -1)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	miniTable, err := c.chain(le.Uint32(h[60:]), int(le.Uint32(h[64:])))
	if err != nil {
		return nil, fmt.Errorf("mini allocation table: %w", err)
	}
	b, err := c.big(miniTable, int64(len(miniTable))*sectorSize).bytes(1 << 26)
	if err != nil {
		return nil, fmt.Errorf("mini allocation table: %w", err)
	}
	c.miniFAT = words(b)
	c.miniHas = make([]bool, len(c.miniFAT))
	if err := c.directory(directory); err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return c, c.leftOver()
}

// table reads the allocation table by way of the header and the sectors that list what the header has no room for.
func (c *compound) table(h []byte) error {
	le := binary.LittleEndian
	count, next, lists := le.Uint32(h[44:]), le.Uint32(h[68:]), le.Uint32(h[72:])
	if int64(count) > int64(c.sectors) || int64(lists) > int64(c.sectors) {
		return errors.New("the allocation table has more sectors than the file")
	}
	at := words(h[76:])
	for range lists {
		b, err := c.sector(next)
		if err != nil {
			return fmt.Errorf("list of the allocation table: %w", err)
		}
		w := words(b)
		at, next = append(at, w[:perSector-1]...), w[perSector-1]
	}
	if next != chainEnd && (lists > 0 || next != freeSector) {
		return errors.New("the list of the allocation table goes on behind its end")
	}
	if int64(len(at)) < int64(count) {
		return errors.New("the allocation table has more sectors than are listed")
	}
	for _, s := range at[count:] {
		if s != freeSector {
			return errors.New("the allocation table has fewer sectors than are listed")
		}
	}
	for _, s := range at[:count] {
		b, err := c.sector(s)
		if err != nil {
			return fmt.Errorf("allocation table: %w", err)
		}
		c.fat = append(c.fat, words(b)...)
	}
	if len(c.fat) < c.sectors {
		return errors.New("the allocation table does not cover the file")
	}
	for _, s := range c.fat[c.sectors:] {
		if s != freeSector {
			return errors.New("the allocation table has sectors behind the end of the file")
		}
	}
	tables := map[uint32]bool{}
	for _, s := range at[:count] {
		tables[s] = true
	}
	for s, next := range c.fat[:c.sectors] {
		if kind := next == tableSector || next == listSector; kind != c.used[s] ||
			tables[uint32(s)] != (next == tableSector) {
			return fmt.Errorf("sector %d is one of the allocation table, or is not, and it says otherwise", s)
		}
	}
	return nil
}

// sector reads one that nothing else has.
func (c *compound) sector(n uint32) ([]byte, error) {
	if err := c.take(n); err != nil {
		return nil, err
	}
	b := make([]byte, sectorSize)
	_, err := c.r.ReadAt(b, (int64(n)+1)*sectorSize)
	return b, err
}

func (c *compound) take(n uint32) error {
	if int64(n) >= int64(c.sectors) {
		return fmt.Errorf("sector %d is not in the file", n)
	}
	if c.used[n] {
		return fmt.Errorf("sector %d is used twice", n)
	}
	c.used[n] = true
	return nil
}

// chain follows sectors from first on; they have to be so many, unless that is negative.
func (c *compound) chain(first uint32, want int) (all []uint32, err error) {
	for n := first; n != chainEnd; n = c.fat[n] {
		if err := c.take(n); err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	if want >= 0 && len(all) != want {
		return nil, fmt.Errorf("a chain of %d sectors, where %d are needed", len(all), want)
	}
	return all, nil
}

func (c *compound) big(sectors []uint32, size int64) stream {
	return stream{of: c.r, sectors: sectors, unit: sectorSize, offset: sectorSize, size: size}
}

// open finds the sectors of a stream.
func (c *compound) open(first uint32, size int64) (stream, error) {
	switch {
	case size == 0:
		if first != chainEnd && first != 0 {
			return stream{}, errors.New("an empty stream has sectors")
		}
		return stream{unit: 1}, nil
	case size >= cutoff:
		sectors, err := c.chain(first, int((size+sectorSize-1)/sectorSize))
		return c.big(sectors, size), err
	}
	s := stream{of: c.mini, unit: miniSize, size: size}
	for n := first; n != chainEnd; n = c.miniFAT[n] {
		if int64(n) >= int64(len(c.miniFAT)) || (int64(n)+1)*miniSize > c.mini.size {
			return stream{}, fmt.Errorf("mini sector %d is not there", n)
		}
		if c.miniHas[n] {
			return stream{}, fmt.Errorf("mini sector %d is used twice", n)
		}
		c.miniHas[n] = true
		s.sectors = append(s.sectors, n)
	}
	if want := (size + miniSize - 1) / miniSize; int64(len(s.sectors)) != want {
		return stream{}, fmt.Errorf("a chain of %d mini sectors, where %d are needed", len(s.sectors), want)
	}
	return s, nil
}

// dirEntry is one of the directory.
type dirEntry struct {
	name              []uint16
	kind              byte
	red               bool
	left, right, down uint32
	first             uint32
	size              int64
	seen              bool
}

func (c *compound) directory(sectors []uint32) error {
	b, err := c.big(sectors, int64(len(sectors))*sectorSize).bytes(maxEntries * 128)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return errors.New("there is none")
	}
	var all []dirEntry
	for ; len(b) > 0; b = b[128:] {
		e, err := parseEntry(b[:128])
		if err != nil {
			return fmt.Errorf("entry %d: %w", len(all), err)
		}
		if len(all) == 0 {
			copy(c.class[:], b[80:96])
		}
		all = append(all, e)
	}
	root := &all[0]
	if root.kind != 5 || root.left != noEntry || root.right != noEntry {
		return errors.New("it does not begin with a root")
	}
	root.seen = true
	miniSectors, err := c.chain(root.first, int((root.size+sectorSize-1)/sectorSize))
	if err != nil {
		return fmt.Errorf("mini stream: %w", err)
	}
	c.mini = c.big(miniSectors, root.size)
	t := &tree{c: c, all: all}
	if _, err := t.walk(root.down, 0, false); err != nil {
		return err
	}
	for i, e := range all {
		if e.seen == (e.kind == 0) {
			return fmt.Errorf("entry %d is not in the tree, or is unused and in it", i)
		}
	}
	if t.uneven {
		c.minor = append(c.minor, "the directory is no red-black tree")
	}
	return nil
}

func parseEntry(b []byte) (e dirEntry, err error) {
	le := binary.LittleEndian
	length := int(le.Uint16(b[64:]))
	e = dirEntry{kind: b[66], red: b[67] == 0, left: le.Uint32(b[68:]), right: le.Uint32(b[72:]),
		down:  le.Uint32(b[76:]),
		first: le.Uint32(b[116:]), size: int64(le.Uint32(b[120:]))}
	switch {
	case e.kind == 0:
		return e, nil
	case e.kind != 2 && e.kind != 5:
		return e, fmt.Errorf("kind %d: only streams are expected", e.kind)
	case length < 4 || length > 64 || length%2 != 0 || b[67] > 1:
		return e, errors.New("name or colour are wrong")
	case le.Uint32(b[124:]) != 0 || e.size >= 1<<31:
		return e, errors.New("a stream of 2 GiB or more")
	}
	for i := range 32 {
		u := le.Uint16(b[2*i:])
		if inside := 2*i < length-2; inside != (u != 0) {
			return e, errors.New("the name does not end where it says")
		} else if inside {
			e.name = append(e.name, u)
		}
	}
	return e, nil
}

// tree goes through the entries in their order.
type tree struct {
	c      *compound
	all    []dirEntry
	before []uint16
	uneven bool
}

// walk goes through what is below an entry, and counts the black ones on each way down.
func (t *tree) walk(at uint32, depth int, underRed bool) (black int, err error) {
	if at == noEntry {
		return 0, nil
	}
	if int64(at) >= int64(len(t.all)) || depth > 64 {
		return 0, errors.New("the tree leads out of the directory, or is too deep")
	}
	e := &t.all[at]
	if e.seen || e.kind != 2 || e.down != noEntry {
		return 0, fmt.Errorf("entry %d is in the tree twice, or is no stream", at)
	}
	e.seen = true
	left, err := t.walk(e.left, depth+1, e.red)
	if err != nil {
		return 0, err
	}
	if t.before != nil && !before(t.before, e.name) {
		return 0, fmt.Errorf("entry %d is out of order", at)
	}
	t.before = e.name
	s, err := t.c.open(e.first, e.size)
	if err != nil {
		return 0, fmt.Errorf("entry %d: %w", at, err)
	}
	t.c.streams[nameOf(e.name)] = s
	right, err := t.walk(e.right, depth+1, e.red)
	t.uneven = t.uneven || left != right || e.red && (underRed || depth == 0)
	if !e.red {
		left++
	}
	return left, err
}

// before orders names by length, then by upper-case units (MS-CFB 2.6.4).
func before(a, b []uint16) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	for i := range a {
		if x, y := unicode.ToUpper(rune(a[i])), unicode.ToUpper(rune(b[i])); x != y {
			return x < y
		}
	}
	return false
}

// leftOver sees that each sector is used or free.
func (c *compound) leftOver() error {
	for s, next := range c.fat[:c.sectors] {
		if !c.used[s] {
			if next != freeSector {
				return fmt.Errorf("sector %d belongs to nothing", s)
			}
			c.minor = append(c.minor, fmt.Sprintf("sector %d is not used", s))
		}
	}
	for s, next := range c.miniFAT {
		if !c.miniHas[s] && next != freeSector {
			c.minor = append(c.minor, fmt.Sprintf("mini sector %d belongs to nothing", s))
		}
	}
	if len(c.minor) > 20 {
		c.minor = append(c.minor[:20], "and more")
	}
	return nil
}

func words(b []byte) []uint32 {
	w := make([]uint32, len(b)/4)
	for i := range w {
		w[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return w
}
