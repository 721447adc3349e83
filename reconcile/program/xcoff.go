package program

import "encoding/binary"

// withoutSymbols cuts off what Go's linker leaves at the end of a program for AIX: told to leave out symbols, it has the header
// say that there are none, and writes them all the same, a tenth of the file. What is not laid out like that stays whole.
func withoutSymbols(b []byte) []byte {
	const (
		fileHeader    = 24
		sectionHeader = 72
		magic         = 0x1f7 // XCOFF of 64 bits
	)
	if len(b) < fileHeader || binary.BigEndian.Uint16(b) != magic || binary.BigEndian.Uint64(b[8:]) != 0 || binary.BigEndian.Uint32(b[20:]) != 0 {
		return b // another format, or the symbols are wanted
	}
	sections := int(binary.BigEndian.Uint16(b[2:]))
	at := fileHeader + int(binary.BigEndian.Uint16(b[16:]))
	end := uint64(at + sections*sectionHeader)
	if end > uint64(len(b)) {
		return b
	}
	for i := range sections {
		s := b[at+i*sectionHeader:]
		size, from := binary.BigEndian.Uint64(s[24:]), binary.BigEndian.Uint64(s[32:])
		if binary.BigEndian.Uint64(s[40:]) != 0 || binary.BigEndian.Uint64(s[48:]) != 0 || from > uint64(len(b)) || from > 0 && size > uint64(len(b))-from {
			return b // relocations or line numbers, which may be anywhere
		}
		if from > 0 { // else it takes no place, such as .bss
			end = max(end, from+size)
		}
	}
	return b[:end]
}
