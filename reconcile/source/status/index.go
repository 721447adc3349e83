package status

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// entry is one of the index.
type entry struct {
	name          string
	mode          uint32
	hash          [sha1.Size]byte
	mtime         time.Time
	size          uint32
	stage         uint8 // not 0: a merge left it
	assumed, skip bool  // git does not look at the file
}

// Kinds of entries, by the upper bits of their mode.
const (
	kindMask = 0o170000
	regular  = 0o100000
	link     = 0o120000
	gitlink  = 0o160000
	sparse   = 0o040000 // a whole directory that is not checked out
)

// index is the list of files that git tracks, sorted, and when it was written.
type index struct {
	entries []entry
	written time.Time
}

var errDamaged = errors.New("is damaged")

// readIndex reads the index in a git directory; one that is not there is empty.
func readIndex(dir string) (index, error) {
	file := filepath.Join(dir, "index")
	st, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return index{}, nil
	}
	if err != nil {
		return index{}, err
	}
	entries, l, err := parseFile(file)
	if err == nil && l != nil {
		entries, err = l.merge(dir, entries)
	}
	return index{entries, st.ModTime()}, err
}

func parseFile(file string) ([]entry, *linked, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	entries, l, err := parseIndex(data)
	if err != nil {
		err = fmt.Errorf("the index %s %w", file, err)
	}
	return entries, l, err
}

// parseIndex reads an index of the versions 2 to 4.
func parseIndex(data []byte) (entries []entry, l *linked, err error) {
	const checksum = sha1.Size
	if len(data) < checksum {
		return nil, nil, errDamaged
	}
	data, sum := data[:len(data)-checksum], [checksum]byte(data[len(data)-checksum:])
	if sum != [checksum]byte{} && sum != sha1.Sum(data) { // git can be told to leave it out (index.skipHash)
		return nil, nil, errDamaged
	}
	r := &reader{data: data}
	if string(r.take(4)) != "DIRC" {
		return nil, nil, errDamaged
	}
	version := r.uint32()
	if version < 2 || version > 4 {
		return nil, nil, fmt.Errorf("has the unknown version %d", version)
	}
	previous := ""
	for n := r.uint32(); n > 0 && !r.short; n-- {
		e := r.entry(version, previous)
		previous = e.name
		entries = append(entries, e)
	}
	for !r.short && r.at < len(data) {
		name, body := string(r.take(4)), &reader{data: r.take(int(r.uint32()))}
		switch {
		case name == "link":
			l = &linked{}
			copy(l.base[:], body.take(sha1.Size))
			if len(body.data) > body.at {
				l.deleted, l.replaced = body.bitmap(), body.bitmap()
			}
			r.short = r.short || body.short
		case name == "sdir": // there are entries of whole directories
		case name != "" && (name[0] < 'A' || name[0] > 'Z'):
			return nil, nil, fmt.Errorf("has the unknown extension %q", name)
		}
	}
	if r.short {
		return nil, nil, errDamaged
	}
	return entries, l, nil
}

// reader reads what is there, and notes if that was too short.
type reader struct {
	data  []byte
	at    int
	short bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.data)-r.at {
		r.short, n = true, len(r.data)-r.at
	}
	b := r.data[r.at : r.at+n]
	r.at += n
	return b
}

func (r *reader) uint32() uint32 {
	b := r.take(4)
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

func (r *reader) entry(version uint32, previous string) (e entry) {
	const (
		assumed  = 0x8000
		extended = 0x4000
		skip     = 0x4000 // of the further flags
	)
	start := r.at
	r.take(8) // ctime
	sec, nsec := r.uint32(), r.uint32()
	e.mtime = time.Unix(int64(sec), int64(nsec))
	r.take(8) // device, inode
	e.mode = r.uint32()
	r.take(8) // user, group
	e.size = r.uint32()
	copy(e.hash[:], r.take(sha1.Size))
	var flags [2]byte
	copy(flags[:], r.take(2))
	f := binary.BigEndian.Uint16(flags[:])
	e.assumed, e.stage = f&assumed != 0, uint8(f>>12&3)
	if f&extended != 0 {
		copy(flags[:], r.take(2))
		e.skip = binary.BigEndian.Uint16(flags[:])&skip != 0
	}
	if version == 4 {
		drop := r.varint()
		if drop > len(previous) {
			r.short = true
			return e
		}
		e.name = previous[:len(previous)-drop] + r.untilZero()
		return e
	}
	e.name = r.untilZero()
	const align = 8
	if n := (r.at - start) % align; n != 0 {
		r.take(align - n)
	}
	return e
}

// untilZero reads a name and the zero byte after it.
func (r *reader) untilZero() string {
	end := bytes.IndexByte(r.data[r.at:], 0)
	if end < 0 {
		r.short = true
		return ""
	}
	return string(r.take(end + 1)[:end])
}

// varint reads a number as git packs offsets.
func (r *reader) varint() int {
	n := 0
	for i := 0; ; i++ {
		b := r.take(1)
		if len(b) == 0 || i > 4 {
			r.short = true
			return 0
		}
		n = n<<7 | int(b[0]&0x7f)
		if b[0]&0x80 == 0 {
			return n
		}
		n++
	}
}

// bitmap reads a compressed bitmap (EWAH) as the positions of its ones.
func (r *reader) bitmap() (ones []int) {
	const wordBits = 64
	const mostBits = 1 << 24 // files
	bits := r.uint32()
	r.short = r.short || bits > mostBits
	words := make([]uint64, 0)
	for n := r.uint32(); n > 0 && !r.short; n-- {
		if b := r.take(8); len(b) == 8 {
			words = append(words, binary.BigEndian.Uint64(b))
		}
	}
	r.uint32() // where the last run is
	for at := 0; len(words) > 0 && !r.short; {
		head := words[0]
		words = words[1:]
		run, literal := int(head>>1&(1<<32-1))*wordBits, int(head>>33)
		if run > int(bits)+wordBits || literal > len(words) {
			r.short = true
			return nil
		}
		if head&1 == 1 {
			for i := range run {
				ones = append(ones, at+i)
			}
		}
		if at += run; at > int(bits)+wordBits {
			r.short = true
		}
		for _, word := range words[:literal] {
			for i := range wordBits {
				if word>>i&1 == 1 {
					ones = append(ones, at+i)
				}
			}
			at += wordBits
		}
		words = words[literal:]
	}
	return ones
}

// linked is what a split index says of the shared one that it changes.
type linked struct {
	base              [sha1.Size]byte
	deleted, replaced []int
}

// merge applies the entries of a split index to the shared one: the first replace some of it, without a name of their
// own, the others are added.
func (l *linked) merge(dir string, changes []entry) ([]entry, error) {
	if l.base == [sha1.Size]byte{} {
		return changes, nil
	}
	entries, _, err := parseFile(filepath.Join(dir, "sharedindex."+hex.EncodeToString(l.base[:])))
	if err != nil {
		return nil, err
	}
	for _, i := range l.replaced {
		if i >= len(entries) || len(changes) == 0 {
			return nil, fmt.Errorf("the split index in %s %w", dir, errDamaged)
		}
		name := entries[i].name
		entries[i], changes = changes[0], changes[1:]
		entries[i].name = name
	}
	for _, i := range slices.Backward(l.deleted) {
		if i >= len(entries) {
			return nil, fmt.Errorf("the split index in %s %w", dir, errDamaged)
		}
		entries = slices.Delete(entries, i, i+1)
	}
	entries = append(entries, changes...)
	slices.SortStableFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return entries, nil
}
