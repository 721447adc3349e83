package program

import (
	"bytes"
	"encoding/binary"
	"testing"
)

// xcoff is a program of 64 bits with a section of data, one without and something behind. field is set to 1 at its offset.
func xcoff(field int) []byte {
	b := make([]byte, 24+120+2*72)
	binary.BigEndian.PutUint16(b, 0x1f7)
	binary.BigEndian.PutUint16(b[2:], 2)
	binary.BigEndian.PutUint16(b[16:], 120)
	text, bss := b[144:], b[144+72:]
	binary.BigEndian.PutUint64(text[24:], 4)
	binary.BigEndian.PutUint64(text[32:], uint64(len(b)))
	binary.BigEndian.PutUint64(bss[24:], 1<<40)
	if field > 0 {
		b[field] = 1
	}
	return append(b, "text and symbols"...)
}

func TestOnlyWhatNothingInAnAIXProgramPointsToIsCutOff(t *testing.T) {
	whole := xcoff(0)
	if got := withoutSymbols(whole); !bytes.Equal(got, whole[:len(whole)-len(" and symbols")]) {
		t.Errorf("%q is left", got)
	}
	for name, field := range map[string]int{"symbols": 15, "a number of symbols": 23, "relocations": 144 + 47, "line numbers": 144 + 55, "another magic number": 1,
		"a section beyond the end": 144 + 24, "more sections than there is": 2} {
		if b := xcoff(field); !bytes.Equal(withoutSymbols(b), b) {
			t.Errorf("cut in spite of %s", name)
		}
	}
	for _, b := range [][]byte{nil, []byte("\x01\xf7"), []byte("\x7fELF and more than a header's length")} {
		if !bytes.Equal(withoutSymbols(b), b) {
			t.Errorf("%q was cut", b)
		}
	}
}
