package bake_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"path"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/schema"
)

// rpmTags is a header's values by tag: []string or []uint32.
type rpmTags map[uint32]any

func (h rpmTags) texts(t tb, tag uint32) []string {
	t.Helper()
	v, ok := h[tag].([]string)
	if !ok && h[tag] != nil {
		t.Fatalf("tag %d is %T", tag, h[tag])
	}
	return v
}

func (h rpmTags) text(t tb, tag uint32) string {
	t.Helper()
	if v := h.texts(t, tag); len(v) == 1 {
		return v[0]
	}
	t.Fatalf("tag %d is %v, not one text", tag, h[tag])
	return ""
}

func (h rpmTags) ints(t tb, tag uint32) []uint32 {
	t.Helper()
	v, ok := h[tag].([]uint32)
	if !ok && h[tag] != nil {
		t.Fatalf("tag %d is %T", tag, h[tag])
	}
	return v
}

// readRpmHeader reads a header as rpm's hdrblobInit does, strictly: aligned and adjacent values in the order of the
// entries, and all of it in one region. It returns what is behind it.
func readRpmHeader(t tb, b []byte, region uint32) (h rpmTags, size int) {
	t.Helper()
	if len(b) < 16 || !bytes.Equal(b[:8], []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}) {
		t.Fatalf("no header magic: %x", b[:min(len(b), 8)])
	}
	n, length := int(binary.BigEndian.Uint32(b[8:])), int(binary.BigEndian.Uint32(b[12:]))
	size = 16 + 16*n + length
	if n < 1 || len(b) < size {
		t.Fatalf("header of %d entries and %d bytes, where %d are left", n, length, len(b))
	}
	index, store := b[16:16+16*n], b[16+16*n:size]
	word := func(b []byte, i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	h = rpmTags{}
	at := 0
	for i := range n {
		e := index[16*i:]
		tag, kind, offset, count := word(e, 0), word(e, 1), int(word(e, 2)), int(word(e, 3))
		if i == 0 {
			trailer := store[len(store)-16:]
			if tag != region || kind != 7 || offset != len(store)-16 || count != 16 || word(trailer, 0) != region || word(trailer, 1) != 7 ||
				int32(word(trailer, 2)) != int32(-16*n) || word(trailer, 3) != 16 {
				t.Fatalf("region %d %d %d %d, trailer %x", tag, kind, offset, count, trailer)
			}
			continue
		}
		if h[tag] != nil {
			t.Fatalf("tag %d comes twice", tag)
		}
		width := map[uint32]int{3: 2, 4: 4}[kind]
		for width > 0 && at%width != 0 {
			if store[at] != 0 {
				t.Fatalf("padding before tag %d is %x", tag, store[at])
			}
			at++
		}
		if offset != at || count < 1 {
			t.Fatalf("tag %d: %d values at %d, want them at %d", tag, count, offset, at)
		}
		switch kind {
		case 3, 4:
			var v []uint32
			for range count {
				if kind == 3 {
					v = append(v, uint32(binary.BigEndian.Uint16(store[at:])))
				} else {
					v = append(v, binary.BigEndian.Uint32(store[at:]))
				}
				at += width
			}
			h[tag] = v
		case 6, 8, 9:
			var v []string
			for range count {
				end := bytes.IndexByte(store[at:], 0)
				v = append(v, string(store[at:at+end]))
				at += end + 1
			}
			if kind != 8 && count != 1 {
				t.Fatalf("tag %d: %d texts", tag, count)
			}
			h[tag] = v
		default:
			t.Fatalf("tag %d is of kind %d", tag, kind)
		}
	}
	if at != len(store)-16 {
		t.Fatalf("%d bytes behind the last value", len(store)-16-at)
	}
	return h, size
}

// readRpm takes a package apart, and checks everything that its parts say of one another.
func readRpm(t tb, b []byte) (h rpmTags, files []entry) {
	t.Helper()
	if len(b) < 96 || !bytes.HasPrefix(b, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0}) || !bytes.Equal(b[76:80], []byte{0, 1, 0, 5}) {
		t.Fatalf("lead %x", b[:min(len(b), 96)])
	}
	sig, n := readRpmHeader(t, b[96:], 62)
	rest := b[96+n:]
	if n%8 != 0 {
		rest = rest[8-n%8:]
	}
	h, n = readRpmHeader(t, rest, 63)
	header, payload := rest[:n], rest[n:]
	hexSum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	if got := sig.text(t, 273); got != hexSum(header) {
		t.Fatalf("header digest %s", got)
	}
	if got := sig.ints(t, 1000)[0]; int(got) != len(rest) {
		t.Fatalf("size %d of %d", got, len(rest))
	}
	if got := h.text(t, 5092); got != hexSum(payload) {
		t.Fatalf("payload digest %s", got)
	}
	in := bytes.NewReader(payload)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatalf("%v", err)
	}
	z.Multistream(false)
	raw, err := io.ReadAll(z)
	if err != nil || in.Len() != 0 {
		t.Fatalf("payload: %v, %d bytes behind it", err, in.Len())
	}
	if got := sig.ints(t, 1007)[0]; int(got) != len(raw) {
		t.Fatalf("payload size %d of %d", got, len(raw))
	}
	return h, checkRpmFiles(t, h, readCpio(t, raw))
}

// readCpio reads cpio's new ASCII form.
func readCpio(t tb, b []byte) (entries []entry) {
	t.Helper()
	at := 0
	for {
		if len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			t.Fatalf("no entry at %d of %d", at, len(b))
		}
		var f [13]int
		for i := range f {
			v, err := strconv.ParseUint(string(b[at+6+8*i:at+14+8*i]), 16, 32)
			if err != nil {
				t.Fatalf("%v", err)
			}
			f[i] = int(v)
		}
		name := string(b[at+110 : at+110+f[11]-1])
		at += (110 + f[11] + 3) &^ 3
		data := b[at : at+f[6]]
		for i := at + f[6]; i%4 != 0; i++ {
			if b[i] != 0 {
				t.Fatalf("padding of %s is %x", name, b[i])
			}
		}
		at += (f[6] + 3) &^ 3
		if name == "TRAILER!!!" {
			if at != len(b) {
				t.Fatalf("%d bytes behind the trailer", len(b)-at)
			}
			return entries
		}
		// Inode, owner, group, devices and checksum nothing; one link; the constant time.
		if f[0] != 0 || f[2] != 0 || f[3] != 0 || f[4] != 1 || f[5] != 946684800 || f[7]|f[8]|f[9]|f[10]|f[12] != 0 {
			t.Fatalf("%s: %v", name, f)
		}
		e := entry{&tar.Header{Name: name, Mode: int64(f[1] & 0o7777), Typeflag: tar.TypeReg}, data}
		if f[1]&0o170000 == 0o040000 {
			e.Typeflag, e.Name = tar.TypeDir, name+"/"
		} else if f[1]&0o170000 != 0o100000 {
			t.Fatalf("%s: mode %o", name, f[1])
		}
		entries = append(entries, e)
	}
}

// checkRpmFiles checks that the header lists exactly the payload's entries, sorted by the bytes of their paths, and returns them.
func checkRpmFiles(t tb, h rpmTags, entries []entry) []entry {
	t.Helper()
	const sizes, modes, rdevs, times, digests, links, flags, owners, groups, verify, devices, inodes, langs, indexes, bases, dirs = 1028, 1030, 1033, 1034,
		1035, 1036, 1037, 1039, 1040, 1045, 1095, 1096, 1097, 1116, 1117, 1118
	byName := map[string]entry{}
	for _, e := range entries {
		byName[strings.TrimSuffix(e.Name, "/")[1:]] = e
	}
	if len(byName) != len(entries) {
		t.Fatalf("%d names of %d entries", len(byName), len(entries))
	}
	n := len(entries)
	for _, tag := range []uint32{sizes, modes, rdevs, times, flags, verify, devices, inodes, indexes} {
		if got := len(h.ints(t, tag)); got != n {
			t.Fatalf("tag %d has %d values for %d files", tag, got, n)
		}
	}
	for _, tag := range []uint32{digests, links, owners, groups, langs, bases} {
		if got := len(h.texts(t, tag)); got != n {
			t.Fatalf("tag %d has %d values for %d files", tag, got, n)
		}
	}
	last := ""
	inode := map[uint32]bool{}
	for i, base := range h.texts(t, bases) {
		p := h.texts(t, dirs)[h.ints(t, indexes)[i]] + base
		e, ok := byName[p]
		if !ok || p <= last || base == "" || !path.IsAbs(p) {
			t.Fatalf("%q after %q, in the payload: %v", p, last, ok)
		}
		last = p
		mode, size, digest := uint32(0o100000|e.Mode), uint32(len(e.data)), hex.EncodeToString(sum(e.data))
		if e.Typeflag == tar.TypeDir {
			mode, size, digest = uint32(0o040000|e.Mode), 4096, ""
		}
		e.Uname, e.Gname = h.texts(t, owners)[i], h.texts(t, groups)[i]
		byName[p] = e
		if h.ints(t, modes)[i] != mode || h.ints(t, sizes)[i] != size || h.texts(t, digests)[i] != digest || h.ints(t, times)[i] != 946684800 ||
			h.ints(t, flags)[i]&^2 != 0 || inode[h.ints(t, inodes)[i]] {
			t.Fatalf("%s: mode %o, size %d, digest %q", p, h.ints(t, modes)[i], h.ints(t, sizes)[i], h.texts(t, digests)[i])
		}
		inode[h.ints(t, inodes)[i]] = true
	}
	return entries
}

func sum(b []byte) []byte { s := sha256.Sum256(b); return s[:] }

func TestAnRpmHasExactlyTheFilesOfItsRecipe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, src := drawRecipe(t)
		h, entries := readRpm(t, bake1(t, newMemory(), src, r, schema.Rpm))
		arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[r.Platform.Arch]
		if h.text(t, 1000) != "bakehouse-agent" || h.text(t, 1001) != "0.0.0" || h.text(t, 1002) != string(r.ID) || h.text(t, 1022) != arch ||
			h.text(t, 1021) != "linux" || h.text(t, 1004) == "" || h.text(t, 1005) == "" || h.text(t, 1014) == "" || h.text(t, 1044) == "" {
			t.Fatalf("metadata: %v", h)
		}
		checkFiles(t, r, src, entries)
	})
}
