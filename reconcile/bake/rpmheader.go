package bake

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
)

// Types of a header's values.
const (
	rpmInt16       = 3
	rpmInt32       = 4
	rpmString      = 6
	rpmBinary      = 7
	rpmStringArray = 8
	rpmI18N        = 9 // text in the languages of the table of tag 100
)

// The tags that bake writes, under the names that `rpm --querytags` has for them.
const (
	tagHeaderSignatures  = 62
	tagHeaderImmutable   = 63
	tagHeaderI18NTable   = 100
	tagName              = 1000
	tagVersion           = 1001
	tagRelease           = 1002
	tagSummary           = 1004
	tagDescription       = 1005
	tagBuildTime         = 1006
	tagBuildHost         = 1007
	tagSize              = 1009
	tagVendor            = 1011
	tagLicense           = 1014
	tagPackager          = 1015
	tagGroup             = 1016
	tagURL               = 1020
	tagOS                = 1021
	tagArch              = 1022
	tagPrein             = 1023
	tagPostin            = 1024
	tagPreun             = 1025
	tagPostun            = 1026
	tagFileSizes         = 1028
	tagFileModes         = 1030
	tagFileRdevs         = 1033
	tagFileMtimes        = 1034
	tagFileDigests       = 1035
	tagFileLinktos       = 1036
	tagFileFlags         = 1037
	tagFileUserName      = 1039
	tagFileGroupName     = 1040
	tagSourceRPM         = 1044
	tagFileVerifyFlags   = 1045
	tagProvideName       = 1047
	tagRequireFlags      = 1048
	tagRequireName       = 1049
	tagRequireVersion    = 1050
	tagConflictFlags     = 1053
	tagConflictName      = 1054
	tagConflictVersion   = 1055
	tagRPMVersion        = 1064
	tagChangelogTime     = 1080
	tagChangelogName     = 1081
	tagChangelogText     = 1082
	tagPreinProg         = 1085
	tagPostinProg        = 1086
	tagPreunProg         = 1087
	tagPostunProg        = 1088
	tagObsoleteName      = 1090
	tagFileDevices       = 1095
	tagFileInodes        = 1096
	tagFileLangs         = 1097
	tagProvideFlags      = 1112
	tagProvideVersion    = 1113
	tagObsoleteFlags     = 1114
	tagObsoleteVersion   = 1115
	tagDirIndexes        = 1116
	tagBaseNames         = 1117
	tagDirNames          = 1118
	tagPayloadFormat     = 1124
	tagPayloadCompressor = 1125
	tagPayloadFlags      = 1126
	tagPretrans          = 1151
	tagPosttrans         = 1152
	tagPretransProg      = 1153
	tagPosttransProg     = 1154
	tagFileDigestAlgo    = 5011
	tagEncoding          = 5062
	tagPayloadDigest     = 5092
	tagPayloadDigestAlgo = 5093
)

// Tags of the signature header, whose numbers are another space.
const (
	sigSHA256      = 273
	sigSize        = 1000
	sigPayloadSize = 1007
)

// rpmEntry is a tag with its value, as it stands in the store.
type rpmEntry struct {
	tag, kind uint32
	count     int
	data      []byte
}

// rpmHeader collects the tags of a header. Values of no elements are left out, as rpm asks.
type rpmHeader []rpmEntry

func (h *rpmHeader) add(tag, kind uint32, count int, data []byte) {
	if count > 0 {
		*h = append(*h, rpmEntry{tag, kind, count, data})
	}
}

func (h *rpmHeader) text(tag uint32, s string) { h.add(tag, rpmString, 1, append([]byte(s), 0)) }

// i18n is text in the one language that there is.
func (h *rpmHeader) i18n(tag uint32, s string) { h.add(tag, rpmI18N, 1, append([]byte(s), 0)) }

func (h *rpmHeader) texts(tag uint32, list ...string) {
	var b []byte
	for _, s := range list {
		b = append(append(b, s...), 0)
	}
	h.add(tag, rpmStringArray, len(list), b)
}

func (h *rpmHeader) int16s(tag uint32, list ...uint16) {
	var b []byte
	for _, v := range list {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	h.add(tag, rpmInt16, len(list), b)
}

func (h *rpmHeader) int32s(tag uint32, list ...uint32) {
	var b []byte
	for _, v := range list {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	h.add(tag, rpmInt32, len(list), b)
}

// encodeHeader is a header as one region of the tag given, so that a signature can vouch for all of it and stand outside.
// The values of own come last, whatever their tags: rpm wants values in the order of their entries, but the entries in none.
// So head, with the whole index, is the same for all headers that differ in what is in own, if that is as long.
func encodeHeader(region uint32, common, own rpmHeader) (head, tail []byte) {
	byTag := func(a, b rpmEntry) int { return cmp.Compare(a.tag, b.tag) }
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
		align := map[uint32]int{rpmInt16: 2, rpmInt32: 4}[e.kind]
		for align > 0 && len(store)%align != 0 {
			store = append(store, 0)
		}
		index = append(index, entry(e.tag, e.kind, len(store), e.count)...)
		store = append(store, e.data...)
	}
	// The region's own entry comes first and points to a copy of itself at the end of the store, which says where the
	// region begins: so many bytes of index before the store.
	n := len(common) + len(own) + 1
	index = append(entry(region, rpmBinary, len(store), 16), index...)
	store = append(store, entry(region, rpmBinary, -16*n, 16)...)

	head = []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	head = binary.BigEndian.AppendUint32(head, uint32(n))
	head = binary.BigEndian.AppendUint32(head, uint32(len(store)))
	return slices.Concat(head, index, store[:cut]), store[cut:]
}

// rpmLead is the 96 bytes that the format began with, today a file's magic number. Everything in it stands in the header.
func rpmLead(name string, arch uint16) []byte {
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
