package msi

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	blockSize  = 32 << 10
	maxPacked  = blockSize + 12
	maxReserve = 60000
)

// member is a file of a cabinet.
type member struct {
	name string
	size int64
}

// cabinet goes through a cabinet (MS-CAB) of one folder, compressed by MSZIP.
type cabinet struct {
	r       *io.SectionReader
	members []member
	blocks  int
	perData int // reserved bytes of each block
	before  []byte
	block   *bytes.Reader
}

func openCabinet(s stream) (*cabinet, error) {
	c := &cabinet{r: io.NewSectionReader(s, 0, s.size), block: bytes.NewReader(nil)}
	h, err := c.bytes(36)
	if err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	folders, files, flags := le.Uint16(h[26:]), le.Uint16(h[28:]), le.Uint16(h[30:])
	switch {
	case string(h[:4]) != "MSCF" || h[24] != 3 || h[25] != 1:
		return nil, errors.New("it does not begin as a cabinet of version 1.3")
	case int64(le.Uint32(h[8:])) != s.size:
		return nil, fmt.Errorf("it says %d bytes, and has %d", le.Uint32(h[8:]), s.size)
	case flags&^4 != 0 || folders != 1 || files == 0:
		return nil, errors.New("one cabinet of one folder with files is expected")
	case le.Uint32(h[4:])|le.Uint32(h[12:])|le.Uint32(h[20:]) != 0:
		return nil, errors.New("reserved bytes are not zero")
	}
	perFolder := 0
	if flags&4 != 0 {
		r, err := c.bytes(4)
		if err != nil {
			return nil, err
		}
		n := int(le.Uint16(r))
		if perFolder, c.perData = int(r[2]), int(r[3]); n > maxReserve {
			return nil, errors.New("too many reserved bytes")
		}
		if _, err := c.bytes(n); err != nil {
			return nil, err
		}
	}
	folder, err := c.bytes(8 + perFolder)
	if err != nil {
		return nil, err
	}
	if c.blocks = int(le.Uint16(folder[4:])); le.Uint16(folder[6:])&0xf != 1 {
		return nil, errors.New("its folder is not compressed by MSZIP")
	}
	if c.at() != int64(le.Uint32(h[16:])) {
		return nil, errors.New("its files are not where it says")
	}
	var offset int64
	for range files {
		f, err := c.bytes(16)
		if err != nil {
			return nil, err
		}
		name, err := c.name()
		if err != nil {
			return nil, err
		}
		m := member{name, int64(le.Uint32(f))}
		if int64(le.Uint32(f[4:])) != offset || le.Uint16(f[8:]) != 0 {
			return nil, fmt.Errorf("file %.80q does not begin where the one before ends", name)
		}
		offset += m.size
		c.members = append(c.members, m)
	}
	if c.at() != int64(le.Uint32(folder)) {
		return nil, errors.New("its blocks are not where it says")
	}
	if want := (offset + blockSize - 1) / blockSize; int64(c.blocks) != want {
		return nil, fmt.Errorf("%d blocks, where its files are %d", c.blocks, want)
	}
	return c, nil
}

func (c *cabinet) at() int64 {
	at, err := c.r.Seek(0, io.SeekCurrent)
	if err != nil {
		panic(err) // a section knows where it is
	}
	return at
}

func (c *cabinet) bytes(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, fmt.Errorf("cut short: %w", err)
	}
	return b, nil
}

func (c *cabinet) name() (string, error) {
	var name []byte
	for range 257 {
		b, err := c.bytes(1)
		if err != nil {
			return "", err
		}
		if b[0] == 0 {
			return string(name), nil
		}
		name = append(name, b[0])
	}
	return "", errors.New("a name of more than 256 bytes")
}

// Read reads what the files hold, one behind another.
func (c *cabinet) Read(b []byte) (int, error) {
	if c.block.Len() == 0 {
		if c.blocks == 0 {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	return c.block.Read(b)
}

// next inflates a block: a deflate stream that ends with it, which may refer back to the block before.
func (c *cabinet) next() error {
	h, err := c.bytes(8 + c.perData)
	if err != nil {
		return err
	}
	le := binary.LittleEndian
	packed, raw := int(le.Uint16(h[4:])), int(le.Uint16(h[6:]))
	c.blocks--
	if raw == 0 || raw > blockSize || c.blocks > 0 && raw != blockSize || packed > maxPacked {
		return errors.New("a block of a wrong size")
	}
	b, err := c.bytes(packed)
	if err != nil {
		return err
	}
	if sum := le.Uint32(h); sum != checksum(h[4:], checksum(b, 0)) {
		return errors.New("a block has another checksum")
	}
	if len(b) < 2 || string(b[:2]) != "CK" {
		return errors.New("a block is not one of MSZIP")
	}
	in := bytes.NewReader(b[2:])
	z := flate.NewReaderDict(in, c.before)
	out := make([]byte, raw)
	if _, err := io.ReadFull(z, out); err != nil {
		return fmt.Errorf("a block does not inflate: %w", err)
	}
	if n, err := z.Read(make([]byte, 1)); n != 0 || err != io.EOF || in.Len() > 0 {
		return errors.New("a block does not end where it says")
	}
	c.before, c.block = out, bytes.NewReader(out)
	return nil
}

// end sees that nothing is left.
func (c *cabinet) end() error {
	if c.block.Len() > 0 || c.blocks > 0 || c.at() != c.r.Size() {
		return errors.New("it goes on behind its files")
	}
	return nil
}

// checksum goes on with that of a block (MS-CAB, 3.1).
func checksum(b []byte, sum uint32) uint32 {
	for len(b) >= 4 {
		sum ^= uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
		b = b[4:]
	}
	switch len(b) {
	case 3:
		sum ^= uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	case 2:
		sum ^= uint32(b[0])<<8 | uint32(b[1])
	case 1:
		sum ^= uint32(b[0])
	}
	return sum
}
