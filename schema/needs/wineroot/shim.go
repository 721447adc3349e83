package wineroot

import "encoding/binary"

// Where the parts of the shim are, in the file and in memory alike but for the section's place.
const (
	shimHeader  = 0x200  // bytes of the headers in the file
	shimSection = 0x1000 // where the one section is in memory
)

// shim is bcryptprimitives.dll, which Go's runtime asks for random bytes and Wine 8 does not have: a library without
// code whose one export, ProcessPrng, leads to SystemFunction036 of advapi32, which is the same (RtlGenRandom).
func shim(amd64 bool) []byte {
	le := binary.LittleEndian
	file := make([]byte, 2*shimHeader)
	copy(file, "MZ")
	le.PutUint32(file[0x3c:], 0x40)
	pe := file[0x40:]
	copy(pe, "PE\x00\x00")
	coff, optional := pe[4:], pe[24:]
	machine, flags, magic, size, directories := uint16(0x14c), uint16(0x2102), uint16(0x10b), uint16(224), 96
	if amd64 {
		machine, flags, magic, size, directories = 0x8664, 0x2022, 0x20b, 240, 112
	}
	le.PutUint16(coff[0:], machine)
	le.PutUint16(coff[2:], 1) // sections
	le.PutUint16(coff[16:], size)
	le.PutUint16(coff[18:], flags)

	le.PutUint16(optional[0:], magic)
	le.PutUint32(optional[8:], shimHeader) // initialised data
	if amd64 {
		le.PutUint64(optional[24:], 0x180000000)
	} else {
		le.PutUint32(optional[28:], 0x10000000)
	}
	le.PutUint32(optional[32:], 0x1000)     // alignment in memory
	le.PutUint32(optional[36:], shimHeader) // and in the file
	le.PutUint16(optional[40:], 6)          // systems that it is for
	le.PutUint16(optional[48:], 6)
	le.PutUint32(optional[56:], 2*shimSection) // in memory
	le.PutUint32(optional[60:], shimHeader)
	le.PutUint16(optional[68:], 2)      // subsystem
	le.PutUint16(optional[70:], 0x0140) // may lie anywhere, is no program
	le.PutUint32(optional[directories-4:], 16)

	// The export directory, its tables and texts.
	s := file[shimHeader:]
	at := func(offset int) uint32 { return uint32(shimSection + offset) }
	const address, names, ordinals, name, export, target = 0x28, 0x2c, 0x30, 0x34, 0x50, 0x60
	copy(s[name:], "bcryptprimitives.dll\x00")
	copy(s[export:], "ProcessPrng\x00")
	end := target + copy(s[target:], "ADVAPI32.SystemFunction036\x00")
	le.PutUint32(s[12:], at(name))
	le.PutUint32(s[16:], 1) // first ordinal
	le.PutUint32(s[20:], 1) // addresses
	le.PutUint32(s[24:], 1) // names
	le.PutUint32(s[28:], at(address))
	le.PutUint32(s[32:], at(names))
	le.PutUint32(s[36:], at(ordinals))
	le.PutUint32(s[address:], at(target)) // within the directory: a forward
	le.PutUint32(s[names:], at(export))

	le.PutUint32(optional[directories:], at(0))
	le.PutUint32(optional[directories+4:], uint32(end))
	section := optional[size:]
	copy(section, ".rdata")
	le.PutUint32(section[8:], uint32(end))
	le.PutUint32(section[12:], shimSection)
	le.PutUint32(section[16:], shimHeader)
	le.PutUint32(section[20:], shimHeader)
	le.PutUint32(section[36:], 0x40000040)
	return file
}
