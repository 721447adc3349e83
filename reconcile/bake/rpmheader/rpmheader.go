// Package rpmheader writes and reads the headers of an rpm: tags with values, in one region that a signature vouches
// for. Package bake makes those of a package with it, and package seal adds a signature to a copy.
package rpmheader

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Types of a header's values.
const (
	Int16       = 3
	Int32       = 4
	String      = 6
	Binary      = 7
	StringArray = 8
	I18N        = 9 // text in the languages of the table of tag 100
)

// The tags that bake writes, under the names that `rpm --querytags` has for them.
const (
	TagHeaderSignatures  = 62
	TagHeaderImmutable   = 63
	TagHeaderI18NTable   = 100
	TagName              = 1000
	TagVersion           = 1001
	TagRelease           = 1002
	TagSummary           = 1004
	TagDescription       = 1005
	TagBuildTime         = 1006
	TagBuildHost         = 1007
	TagSize              = 1009
	TagVendor            = 1011
	TagLicense           = 1014
	TagPackager          = 1015
	TagGroup             = 1016
	TagURL               = 1020
	TagOS                = 1021
	TagArch              = 1022
	TagPrein             = 1023
	TagPostin            = 1024
	TagPreun             = 1025
	TagPostun            = 1026
	TagFileSizes         = 1028
	TagFileModes         = 1030
	TagFileRdevs         = 1033
	TagFileMtimes        = 1034
	TagFileDigests       = 1035
	TagFileLinktos       = 1036
	TagFileFlags         = 1037
	TagFileUserName      = 1039
	TagFileGroupName     = 1040
	TagSourceRPM         = 1044
	TagFileVerifyFlags   = 1045
	TagProvideName       = 1047
	TagRequireFlags      = 1048
	TagRequireName       = 1049
	TagRequireVersion    = 1050
	TagConflictFlags     = 1053
	TagConflictName      = 1054
	TagConflictVersion   = 1055
	TagRPMVersion        = 1064
	TagChangelogTime     = 1080
	TagChangelogName     = 1081
	TagChangelogText     = 1082
	TagPreinProg         = 1085
	TagPostinProg        = 1086
	TagPreunProg         = 1087
	TagPostunProg        = 1088
	TagObsoleteName      = 1090
	TagFileDevices       = 1095
	TagFileInodes        = 1096
	TagFileLangs         = 1097
	TagProvideFlags      = 1112
	TagProvideVersion    = 1113
	TagObsoleteFlags     = 1114
	TagObsoleteVersion   = 1115
	TagDirIndexes        = 1116
	TagBaseNames         = 1117
	TagDirNames          = 1118
	TagPayloadFormat     = 1124
	TagPayloadCompressor = 1125
	TagPayloadFlags      = 1126
	TagPretrans          = 1151
	TagPosttrans         = 1152
	TagPretransProg      = 1153
	TagPosttransProg     = 1154
	TagFileCaps          = 5010
	TagFileDigestAlgo    = 5011
	TagEncoding          = 5062
	TagPayloadDigest     = 5092
	TagPayloadDigestAlgo = 5093
)

// Tags of the signature header, whose numbers are another space.
const (
	SigSHA256      = 273
	SigSize        = 1000
	SigPayloadSize = 1007
)

// Entry is a tag with its value, as it stands in the store.
type Entry struct {
	Tag, Kind uint32
	Count     int
	Data      []byte
}

// Header collects the tags of a header. Values of no elements are left out, as rpm asks.
type Header []Entry

func (h *Header) Add(tag, kind uint32, count int, data []byte) {
	if count > 0 {
		*h = append(*h, Entry{tag, kind, count, data})
	}
}

func (h *Header) Text(tag uint32, s string) { h.Add(tag, String, 1, append([]byte(s), 0)) }

// I18N is text in the one language that there is.
func (h *Header) I18N(tag uint32, s string) { h.Add(tag, I18N, 1, append([]byte(s), 0)) }

func (h *Header) Texts(tag uint32, list ...string) {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	h.Add(tag, StringArray, len(list), b)
}

func (h *Header) Int16s(tag uint32, list ...uint16) {
	var b []byte
	for _, v := range list {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	h.Add(tag, Int16, len(list), b)
}

func (h *Header) Int32s(tag uint32, list ...uint32) {
	var b []byte
	for _, v := range list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	h.Add(tag, Int32, len(list), b)
}

// Encode is a header as one region of the tag given, so that a signature can vouch for all of it and stand outside.
// The values of own come last, whatever their tags: rpm wants values in the order of their entries, but the entries in
// none. So head, with the whole index, is the same for all headers that differ in what is in own, if that is as long.
func Encode(region uint32, common, own Header) (head, tail []byte) {
	byTag := func(a, b Entry) int { return cmp.Compare(a.Tag, b.Tag) }
	slices.SortFunc(common, byTag)
	entry := func(tag, kind uint32, offset, count int) []byte {
		var b []byte
		for _, v := range []uint32{tag, kind, uint32(offset), uint32(count)} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	var index, store []byte
	cut := 0
	for i, e := range slices.Concat(common, own) {
		if i == len(common) {
			cut = len(store)
		}
		align := map[uint32]int{Int16: 2, Int32: 4}[e.Kind]
		for align > 0 && len(store)%align != 0 {
			store = append(store, 0)
		}
		index = append(index, entry(e.Tag, e.Kind, len(store), e.Count)...)
		store = append(store, e.Data...)
	}
	// The region's own entry comes first and points to a copy of itself at the end of the store, which says where the
	// region begins: so many bytes of index before the store.
	n := len(common) + len(own) + 1
	index = append(entry(region, Binary, len(store), 16), index...)
	store = append(store, entry(region, Binary, -16*n, 16)...)

	head = []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	head = binary.BigEndian.AppendUint32(head, uint32(n))
	head = binary.BigEndian.AppendUint32(head, uint32(len(store)))
	return slices.Concat(head, index, store[:cut]), store[cut:]
}

// Lead is the 96 bytes that the format began with, today a file's magic number. Everything in it stands in the header.
func Lead(name string, arch uint16) []byte {
	var b bytes.Buffer
	b.Write([]byte{0xed, 0xab, 0xee, 0xdb, 3, 0, 0, 0}) // version 3.0, a binary package
	b.Write(binary.BigEndian.AppendUint16(nil, arch))
	field := make([]byte, 66)
	copy(field[:65], name)
	b.Write(field)
	b.Write([]byte{0, 1, 0, 5}) // Linux; signatures stand in a header
	b.Write(make([]byte, 16))
	return b.Bytes()
}

// maxHeader bounds what is read of a header, in bytes.
const maxHeader = 256 << 20

var errNoHeader = errors.New("has no rpm header where one belongs")

// Read reads an encoded header as it is.
func Read(r io.Reader) ([]byte, error) {
	intro := make([]byte, 16)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, err
	}
	n := 16*int64(binary.BigEndian.Uint32(intro[8:])) + int64(binary.BigEndian.Uint32(intro[12:]))
	if !bytes.HasPrefix(intro, []byte{0x8e, 0xad, 0xe8, 1}) || n > maxHeader {
		return nil, errNoHeader
	}
	rest := make([]byte, n)
	_, err := io.ReadFull(r, rest)
	return append(intro, rest...), err
}

// Decode adds the entries of an encoded header, its region aside. Of kinds it knows those that bake writes into
// signatures.
func (h *Header) Decode(b []byte) error {
	n := int(binary.BigEndian.Uint32(b[8:]))
	if 16+16*n > len(b) {
		return errNoHeader
	}
	store := b[16+16*n:]
	for i := range n {
		field := func(k int) uint32 { return binary.BigEndian.Uint32(b[16+16*i+4*k:]) }
		tag, kind, offset, count := field(0), field(1), int(field(2)), int(field(3))
		if tag == TagHeaderSignatures {
			continue
		}
		if offset > len(store) {
			return errNoHeader
		}
		data := store[offset:]
		length := count
		switch kind {
		case String:
			length = bytes.IndexByte(data, 0) + 1
		case Int32:
			length = 4 * count
		case Binary:
		default:
			return fmt.Errorf("its signature has a value of the unknown kind %d", kind)
		}
		if length < 1 || length > len(data) {
			return errNoHeader
		}
		h.Add(tag, kind, count, data[:length])
	}
	return nil
}
