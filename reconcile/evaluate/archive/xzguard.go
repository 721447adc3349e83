package archive

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"bakehouse/reconcile/evaluate/archive/stream"
)

// maxDictionary bounds what xz and zstd may remember of what they wrote, in bytes: `xz -9` takes 64 MiB, `zstd --ultra
// -22` 128 MiB.
const maxDictionary = 128 << 20

// xzGuard passes an xz file on (tukaani.org/xz/xz-file-format.txt) and fails where a block asks for a dictionary over
// maxDictionary: the decoder has no bound of its own, and believes up to 4 GB. It follows the sizes that the format
// gives, without inflating anything, so that it meets every header of a block before the decoder does.
type xzGuard struct {
	in      *bufio.Reader
	run     int64 // bytes to pass before the next look
	look    func(*xzGuard) error
	check   int64  // bytes after a block
	packed  int64  // bytes of the block, or of the index
	records uint64 // numbers left in the index
}

var errXZ = errors.New("a damaged xz file")

func (g *xzGuard) Read(p []byte) (int, error) {
	for g.run == 0 {
		if g.look == nil {
			g.look = (*xzGuard).stream
		}
		if err := g.look(g); err != nil {
			return 0, err
		}
	}
	n, err := g.in.Read(p[:min(int64(len(p)), g.run)])
	g.run -= int64(n)
	return n, stream.Early(err)
}

func (g *xzGuard) peek(n int) ([]byte, error) {
	b, err := g.in.Peek(n)
	if len(b) == n {
		return b, nil
	}
	return nil, stream.Early(err)
}

// stream is at the header of a stream, at padding between two, or at the end.
func (g *xzGuard) stream() error {
	if _, err := g.in.Peek(1); err == io.EOF {
		return io.EOF
	}
	b, err := g.peek(4)
	if err != nil {
		return err
	}
	if bytes.Equal(b, make([]byte, 4)) {
		g.run = 4
		return nil
	}
	if b, err = g.peek(12); err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte("\xfd7zXZ\x00\x00")) || b[7] > 15 {
		return errXZ
	}
	g.check = 0
	if b[7] > 0 {
		g.check = 4 << ((b[7] - 1) / 3)
	}
	g.run, g.look = 12, (*xzGuard).block
	return nil
}

// block is at the header of a block, or at the index.
func (g *xzGuard) block() error {
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	if b[0] == 0 {
		g.run, g.packed, g.look = 1, 1, (*xzGuard).index
		return nil
	}
	if b, err = g.peek((int(b[0]) + 1) * 4); err != nil {
		return err
	}
	g.run, g.packed, g.look = int64(len(b)), 0, (*xzGuard).chunk
	flags, rest := b[1], b[2:len(b)-4]
	if flags&0x3c != 0 {
		return errXZ
	}
	number := func() (v uint64) {
		var n int
		if v, n = xzNumber(rest); n == 0 {
			err = errXZ
		}
		rest = rest[n:]
		return v
	}
	for _, present := range []byte{0x40, 0x80} {
		if flags&present != 0 {
			number()
		}
	}
	for range flags&3 + 1 {
		id, size := number(), number()
		if err != nil || size > uint64(len(rest)) {
			return errXZ
		}
		if id != 0x21 || size != 1 || rest[0] > 40 {
			return errors.New("xz with another filter than LZMA2, which is not supported")
		}
		bits := rest[0]
		if dictionary := uint64(2|bits&1) << (bits/2 + 11); dictionary > maxDictionary {
			return fmt.Errorf("xz with a dictionary of %d MiB; at most %d are taken", dictionary>>20, maxDictionary>>20)
		}
		rest = rest[size:]
	}
	return nil
}

// chunk is at a chunk of LZMA2 data.
func (g *xzGuard) chunk() error {
	b, err := g.peek(1)
	if err != nil {
		return err
	}
	control, head := b[0], 5
	switch {
	case control == 0:
		g.packed++
		g.run, g.look = 1+pad4(g.packed)+g.check, (*xzGuard).block
		return nil
	case control <= 2:
		head = 3
	case control < 0x80:
		return errXZ
	case control >= 0xc0:
		head = 6
	}
	if b, err = g.peek(head); err != nil {
		return err
	}
	size := b[min(head, 5)-2:] // its last number of two bytes; the properties follow it
	g.run = int64(head) + int64(size[0])<<8 + int64(size[1]) + 1
	g.packed += g.run
	return nil
}

// index is at the number of records, after which two numbers for each follow.
func (g *xzGuard) index() error {
	n, err := g.number()
	if err != nil || n > 1<<40 {
		return errors.Join(errXZ, err)
	}
	g.records, g.look = 2*n, (*xzGuard).record
	return nil
}

func (g *xzGuard) record() error {
	if g.records == 0 {
		g.run, g.look = pad4(g.packed)+4+12, (*xzGuard).stream
		return nil
	}
	g.records--
	_, err := g.number()
	return err
}

// number lets one number of the index pass.
func (g *xzGuard) number() (uint64, error) {
	b, err := g.in.Peek(9)
	if err != nil && err != io.EOF {
		return 0, err
	}
	v, n := xzNumber(b)
	if n == 0 {
		return 0, errXZ
	}
	g.run = int64(n)
	g.packed += g.run
	return v, nil
}

// xzNumber reads an integer of the format, and how many bytes it has; none if it is damaged.
func xzNumber(b []byte) (v uint64, n int) {
	for i := range min(len(b), 9) {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

func pad4(n int64) int64 { return -n & 3 }
