// Package cfb lays out compound files (MS-CFB, version 3) so that files which are alike in most of their streams are
// alike in most of their bytes.
//
// Streams that many files share stand first and are not looked at: only their sizes are known here. Behind them come
// the allocation table, the directory, and whatever of the other streams is the same in all of a class; last what is
// not, in whole sectors. As long as all sizes are the same, only that end differs.
package cfb

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unicode"
)

// SectorSize is what everything is padded to, in bytes, and Cutoff the size from which on a stream has sectors of its
// own: a shared stream may not be smaller.
const (
	SectorSize = 512
	Cutoff     = 4096

	miniSize = 64
	entry    = 128              // of a directory entry, in bytes
	ids      = SectorSize / 4   // in a sector of the allocation table
	inHeader = 109              // sectors of the allocation table that the header lists
	maxSize  = 1<<31 - 1        // of a stream, in bytes: version 3 has 31 bits
	maxName  = 31               // UTF-16 units
	free     = 0xffffffff       // no sector, no entry
	end      = 0xfffffffe       // of a chain
	table    = 0xfffffffd       // a sector of the allocation table
	listing  = 0xfffffffc       // a sector that lists further ones of the table
	maxFile  = 0xfffffff0 * 512 // sectors have 32 bits
)

// Name is a stream's name in UTF-16 units.
type Name []uint16

// Shared is a stream at the front, of so many bytes. It stands padded with zeros to whole sectors.
type Shared struct {
	Name Name
	Size int64
}

// Span is bytes From to To of a stream.
type Span struct{ From, To int }

// Stream is one of the others. Own are what differs between files of a class.
type Stream struct {
	Name Name
	Data []byte
	Own  []Span
}

// File is, in order: the header, the shared streams, Table, Common and Own. Header and Common depend on sizes, names
// and what is common; Table on the sizes of shared streams alone.
type File struct{ Header, Table, Common, Own []byte }

// chain is a stream with its sectors.
type chain struct {
	data    []byte
	own     []Span
	sectors []uint32
}

func (c *chain) count() int { return sectors(int64(len(c.data)), SectorSize) }

func (c *chain) isOwn(sector int) bool {
	from, to := sector*SectorSize, (sector+1)*SectorSize
	return slices.ContainsFunc(c.own, func(s Span) bool { return s.From < to && from < s.To })
}

func sectors(size, of int64) int { return int((size + of - 1) / of) }

// item is an entry of the directory below its root.
type item struct {
	name        Name
	size        int64
	start       uint32
	left, right uint32
	red         bool
}

// Layout makes a compound file with that class id at its root.
func Layout(class [16]byte, shared []Shared, streams []Stream) (*File, error) {
	var items []*item
	front := 0 // sectors
	for _, s := range shared {
		if s.Size < Cutoff {
			return nil, fmt.Errorf("a shared stream of %d bytes: it has to have %d", s.Size, Cutoff)
		}
		items = append(items, &item{name: s.Name, size: s.Size, start: uint32(front)})
		front += sectors(s.Size, SectorSize)
	}
	// Streams with something of their own stand last among the small ones: they share sectors with nothing else.
	order := slices.Clone(streams)
	slices.SortStableFunc(order, func(a, b Stream) int { return cmp.Compare(min(len(a.Own), 1), min(len(b.Own), 1)) })
	mini := &chain{}
	var minis []uint32 // the mini allocation table
	var big []*chain
	bigItem := map[*chain]*item{}
	for _, s := range order {
		it := &item{name: s.Name, size: int64(len(s.Data)), start: end}
		items = append(items, it)
		switch {
		case len(s.Data) == 0:
		case len(s.Data) < Cutoff:
			it.start = uint32(len(minis))
			for range sectors(it.size, miniSize) - 1 {
				minis = append(minis, uint32(len(minis)+1))
			}
			minis = append(minis, end)
			at := len(mini.data)
			for _, o := range s.Own {
				mini.own = append(mini.own, Span{at + o.From, at + o.To})
			}
			mini.data = append(mini.data, s.Data...)
			mini.data = append(mini.data, make([]byte, -len(mini.data)&(miniSize-1))...)
		default:
			c := &chain{data: s.Data, own: s.Own}
			big, bigItem[c] = append(big, c), it
		}
	}
	for _, it := range items {
		if it.size > maxSize {
			return nil, fmt.Errorf("a stream of %d bytes: %d is all", it.size, maxSize)
		}
	}
	directory := &chain{data: make([]byte, sectors(int64(1+len(items)), SectorSize/entry)*SectorSize)}
	miniTable := &chain{data: make([]byte, sectors(int64(len(minis)), ids)*SectorSize)}
	putAll(miniTable.data, minis)
	chains := append([]*chain{directory, miniTable}, big...)
	chains = append(chains, mini)

	// How many sectors the table has depends on how many there are, the table's included.
	streamed := 0
	for _, c := range chains {
		streamed += c.count()
	}
	tables, lists := 0, 0
	for {
		total := front + streamed + tables + lists
		t, l := sectors(int64(total), ids), 0
		if t > inHeader {
			l = sectors(int64(t-inHeader), ids-1)
		}
		if t == tables && l == lists {
			break
		}
		tables, lists = t, l
	}
	total := front + streamed + tables + lists
	if int64(total)*SectorSize > maxFile {
		return nil, errors.New("too large for a compound file")
	}

	fat := make([]uint32, tables*ids)
	for i := range fat {
		fat[i] = free
	}
	for _, it := range items[:len(shared)] {
		link(fat, run(it.start, sectors(it.size, SectorSize)))
	}
	next := uint32(front)
	take := func(n int) []uint32 { r := run(next, n); next += uint32(n); return r }
	shares := front / ids // sectors of the table that speak of shared streams alone
	tableAt := take(shares)
	for _, c := range chains[:2] {
		c.sectors = take(c.count())
	}
	listAt := take(lists)
	tableAt = append(tableAt, take(tables-shares)...)
	for _, own := range []bool{false, true} {
		for _, c := range chains[2:] {
			if c.sectors == nil {
				c.sectors = make([]uint32, c.count())
			}
			for i := range c.sectors {
				if c.isOwn(i) == own {
					c.sectors[i] = take(1)[0]
				}
			}
		}
	}
	for _, c := range chains {
		link(fat, c.sectors)
		if it := bigItem[c]; it != nil {
			it.start = c.sectors[0]
		}
	}
	for _, s := range tableAt {
		fat[s] = table
	}
	for _, s := range listAt {
		fat[s] = listing
	}

	first, err := tree(items)
	if err != nil {
		return nil, err
	}
	writeDirectory(directory.data, class, items, first, mini)

	whole := make([]byte, (total-front)*SectorSize) // from the end of the shared streams on
	sector := func(n uint32) []byte { at := (int(n) - front) * SectorSize; return whole[at : at+SectorSize] }
	for i, s := range tableAt {
		putAll(sector(s), fat[i*ids:(i+1)*ids])
	}
	for _, c := range chains {
		for i, s := range c.sectors {
			copy(sector(s), c.data[i*SectorSize:])
		}
	}
	for i, s := range listAt { // the last of each points to the next
		more := tableAt[inHeader+i*(ids-1):]
		b := sector(s)
		for k := range ids - 1 {
			put(b[4*k:], at(more, k, free))
		}
		put(b[4*(ids-1):], at(listAt, i+1, end))
	}
	ownSectors := 0
	for _, c := range chains[2:] {
		for i := range c.sectors {
			if c.isOwn(i) {
				ownSectors++
			}
		}
	}
	cut, last := shares*SectorSize, len(whole)-ownSectors*SectorSize
	return &File{Header: header(tables, lists, directory, miniTable, listAt, tableAt), Table: whole[:cut],
		Common: whole[cut:last], Own: whole[last:]}, nil
}

func header(tables, lists int, directory, miniTable *chain, listAt, tableAt []uint32) []byte {
	h := make([]byte, SectorSize)
	copy(h, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
	copy(h[24:], []byte{0x3e, 0, 3, 0, 0xfe, 0xff, 9, 0, 6, 0})
	put(h[44:], uint32(tables))
	put(h[48:], directory.sectors[0])
	put(h[56:], Cutoff)
	put(h[60:], at(miniTable.sectors, 0, end))
	put(h[64:], uint32(miniTable.count()))
	put(h[68:], at(listAt, 0, end))
	put(h[72:], uint32(lists))
	for i := range inHeader {
		put(h[76+4*i:], at(tableAt, i, free))
	}
	return h
}

// tree orders items as the directory has them, and joins them to a balanced tree whose deepest level, if it is not
// full, is red: so each way down has as many black entries. It returns the topmost.
func tree(items []*item) (first uint32, err error) {
	slices.SortFunc(items, func(a, b *item) int { return Compare(a.name, b.name) })
	for i, it := range items {
		if len(it.name) == 0 || len(it.name) > maxName {
			return 0, fmt.Errorf("a stream's name of %d units: 1 to %d are all", len(it.name), maxName)
		}
		if i > 0 && Compare(items[i-1].name, it.name) == 0 {
			return 0, errors.New("two streams of one name")
		}
	}
	full := 0 // levels
	for 1<<(full+1)-1 <= len(items) {
		full++
	}
	var join func(from, to, depth int) uint32
	join = func(from, to, depth int) uint32 {
		if from == to {
			return free
		}
		mid := (from + to) / 2
		it := items[mid]
		it.left, it.right = join(from, mid, depth+1), join(mid+1, to, depth+1)
		it.red = depth >= full
		return uint32(mid + 1)
	}
	return join(0, len(items), 0), nil
}

// Compare orders names as MS-CFB 2.6.4 does: shorter ones first, then by their upper-case units.
func Compare(a, b Name) int {
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return slices.CompareFunc(a, b, func(x, y uint16) int {
		return cmp.Compare(unicode.ToUpper(rune(x)), unicode.ToUpper(rune(y)))
	})
}

func writeDirectory(b []byte, class [16]byte, items []*item, first uint32, mini *chain) {
	for i := 0; i < len(b); i += entry { // an entry that is not used has no neighbours
		for _, at := range []int{68, 72, 76} {
			put(b[i+at:], free)
		}
	}
	name := func(e []byte, n Name, kind, color byte) {
		for i, u := range n {
			binary.LittleEndian.PutUint16(e[2*i:], u)
		}
		binary.LittleEndian.PutUint16(e[64:], uint16(2*len(n)+2))
		e[66], e[67] = kind, color
	}
	var root Name
	for _, c := range "Root Entry" {
		root = append(root, uint16(c))
	}
	name(b, root, 5, 1)
	put(b[76:], first)
	copy(b[80:], class[:])
	put(b[116:], at(mini.sectors, 0, end))
	put(b[120:], uint32(len(mini.data)))
	for i, it := range items {
		e := b[(i+1)*entry:]
		color := byte(1)
		if it.red {
			color = 0
		}
		name(e, it.name, 2, color)
		put(e[68:], it.left)
		put(e[72:], it.right)
		put(e[116:], it.start)
		put(e[120:], uint32(it.size))
	}
}

// run is n numbers from first on.
func run(first uint32, n int) []uint32 {
	r := make([]uint32, n)
	for i := range r {
		r[i] = first + uint32(i)
	}
	return r
}

func link(fat, chain []uint32) {
	for i, s := range chain {
		fat[s] = at(chain, i+1, end)
	}
}

// at is s[i], or otherwise if there is none.
func at(s []uint32, i int, otherwise uint32) uint32 {
	if i < len(s) {
		return s[i]
	}
	return otherwise
}

func put(b []byte, v uint32) { binary.LittleEndian.PutUint32(b, v) }

// putAll fills b, and what is left of it with free.
func putAll(b []byte, values []uint32) {
	for i := range len(b) / 4 {
		put(b[4*i:], at(values, i, free))
	}
}
