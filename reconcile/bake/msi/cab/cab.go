// Package cab writes cabinets (MS-CAB) with one folder, compressed by MSZIP (MS-MCI), byte for byte the same for the
// same files.
package cab

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// level is fixed for good: another one makes other bytes.
const level = 9

const (
	block     = 32 << 10 // bytes of a block, and the window of deflate
	limit     = block + 12
	maxFiles  = 65535
	maxBlocks = 65535
	maxPad    = 60000 // of the reserved area, in bytes
)

// Date and Time are of every file: 2000-01-01 00:00:00, in the terms of MS-DOS.
const Date, Time = (2000-1980)<<9 | 1<<5 | 1, 0

// File is a member: its name, which is a key of the table File, and its bytes.
type File struct {
	Name  string
	Write func(io.Writer) error
}

// Spool keeps what was written to it, to be read once.
type Spool interface {
	io.Writer
	io.WriterTo
}

// Sizes is what a cabinet is padded to by its reserved area, in bytes: at least Least, and a multiple of Step. Zero: it
// is not padded.
type Sizes struct{ Least, Step int }

// Write writes a cabinet of files, in their order. Blocks are compressed into spool, for the header comes first and
// tells their number.
func Write(ctx context.Context, w io.Writer, files []File, s Sizes, spool Spool) error {
	if len(files) == 0 || len(files) > maxFiles {
		return fmt.Errorf("a cabinet of %d files: 1 to %d are all", len(files), maxFiles)
	}
	b := &blocks{to: spool}
	var table []byte
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := b.size
		if err := f.Write(b); err != nil {
			return err
		}
		e := binary.LittleEndian.AppendUint32(nil, uint32(b.size-from))
		e = binary.LittleEndian.AppendUint32(e, uint32(from))
		for _, v := range []uint16{0, Date, Time, 0x20} { // folder, and the attribute "archive"
			e = binary.LittleEndian.AppendUint16(e, v)
		}
		table = append(append(table, e...), append([]byte(f.Name), 0)...)
	}
	if err := b.flush(); err != nil {
		return err
	}
	if b.count > maxBlocks {
		return errors.New("a cabinet holds at most 2 GiB")
	}
	const header, folder = 36, 8
	size, flags := int64(header+folder+len(table))+b.written, uint16(0)
	var reserved []byte
	if s.Step > 0 {
		flags = 4 // cfhdrRESERVE_PRESENT
		want := max(int64(s.Least), size+4)
		want += -want & int64(s.Step-1)
		pad := want - size - 4
		if pad > maxPad {
			return fmt.Errorf("%d bytes of padding", pad)
		}
		reserved = make([]byte, 4+pad)
		binary.LittleEndian.PutUint16(reserved, uint16(pad))
		size = want
	}
	if size >= 1<<31 {
		return errors.New("a cabinet has at most 2 GiB")
	}
	var h bytes.Buffer
	h.WriteString("MSCF")
	le := func(values ...any) {
		for _, v := range values {
			if err := binary.Write(&h, binary.LittleEndian, v); err != nil {
				panic(err) // only for a type without a size
			}
		}
	}
	at := uint32(header + len(reserved) + folder)
	le(uint32(0), uint32(size), uint32(0), at, uint32(0), byte(3), byte(1), uint16(1), uint16(len(files)), flags,
		uint16(0), uint16(0))
	h.Write(reserved)
	le(at+uint32(len(table)), uint16(b.count), uint16(1)) // 1: MSZIP
	h.Write(table)
	if _, err := w.Write(h.Bytes()); err != nil {
		return err
	}
	_, err := spool.WriteTo(w)
	return err
}

// blocks compresses what is written to it, block by block.
type blocks struct {
	to            io.Writer
	size, written int64
	count         int
	raw, before   []byte
	z             *flate.Writer
	packed        bytes.Buffer
}

func (b *blocks) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		k := min(len(p), block-len(b.raw))
		b.raw, p = append(b.raw, p[:k]...), p[k:]
		if len(b.raw) == block {
			if err := b.flush(); err != nil {
				return 0, err
			}
		}
	}
	b.size += int64(n)
	return n, nil
}

// flush writes a block: a whole deflate stream, which may refer back to the block before.
func (b *blocks) flush() (err error) {
	if len(b.raw) == 0 {
		return nil
	}
	if b.z == nil {
		if b.z, err = flate.NewWriter(nil, level); err != nil {
			return err
		}
	}
	b.packed.Reset()
	b.packed.WriteString("CK")
	b.z.ResetDict(&b.packed, b.before)
	if _, err := b.z.Write(b.raw); err != nil {
		return err
	}
	if err := b.z.Close(); err != nil {
		return err
	}
	if b.packed.Len() > limit { // what cannot be compressed grows beyond what a block may have
		n := uint16(len(b.raw))
		b.packed.Reset()
		b.packed.Write([]byte{'C', 'K', 1, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)})
		b.packed.Write(b.raw)
	}
	sizes := binary.LittleEndian.AppendUint16(nil, uint16(b.packed.Len()))
	sizes = binary.LittleEndian.AppendUint16(sizes, uint16(len(b.raw)))
	sum := Checksum(sizes, Checksum(b.packed.Bytes(), 0))
	out := append(binary.LittleEndian.AppendUint32(nil, sum), sizes...)
	out = append(out, b.packed.Bytes()...)
	_, err = b.to.Write(out)
	b.written += int64(len(out))
	b.count++
	b.before, b.raw = append(b.before[:0], b.raw...), b.raw[:0]
	return err
}

// Checksum goes on with that of a block (MS-CAB 3.1): words one over another, and what is left at the end in falling
// order.
func Checksum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var last uint32
	for _, c := range b {
		last = last<<8 | uint32(c)
	}
	return sum ^ last
}
