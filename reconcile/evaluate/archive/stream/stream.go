// Package stream reads the containers that packages are made of, front to back and without taking anything apart twice:
// ar, in which a deb keeps its tars; cpio in its new portable form, in which an rpm and a datastream keep their files;
// and the head of an rpm. Numbers are checked before anything follows from them.
package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// ArMagic begins an ar archive, RPMMagic an rpm.
const (
	ArMagic  = "!<arch>\n"
	RPMMagic = "\xed\xab\xee\xdb"
)

// Ar reads an ar archive (ar(5)). Read reads the member that Next returned last.
type Ar struct {
	r         io.Reader
	began     bool
	at        int64
	left, pad int64 // of the member
}

// ArMember is a member of an ar archive. Its content has Size bytes, and begins At bytes into the archive.
type ArMember struct {
	Name     string
	At, Size int64
}

// NewAr reads an archive from its first byte. It skips by seeking if r is an io.Seeker.
func NewAr(r io.Reader) *Ar { return &Ar{r: r} }

// Next goes to the next member. It returns io.EOF after the last.
func (a *Ar) Next() (ArMember, error) {
	if !a.began {
		magic := make([]byte, len(ArMagic))
		if _, err := io.ReadFull(a.r, magic); err != nil {
			return ArMember{}, Early(err)
		}
		if string(magic) != ArMagic {
			return ArMember{}, errors.New("no ar archive")
		}
		a.began, a.at = true, int64(len(magic))
	}
	if err := skip(a.r, a.left+a.pad); err != nil {
		return ArMember{}, err
	}
	a.at += a.left + a.pad
	a.left, a.pad = 0, 0
	head := make([]byte, 60)
	if _, err := io.ReadFull(a.r, head); err == io.EOF {
		return ArMember{}, io.EOF
	} else if err != nil {
		return ArMember{}, Early(err)
	}
	a.at += int64(len(head))
	size, err := strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
	if err != nil || size < 0 || string(head[58:]) != "`\n" {
		return ArMember{}, errors.New("an ar archive with a damaged header")
	}
	a.left, a.pad = size, size&1
	return ArMember{strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/"), a.at, size}, nil
}

func (a *Ar) Read(p []byte) (int, error) {
	if a.left == 0 {
		return 0, io.EOF
	}
	n, err := a.r.Read(p[:min(int64(len(p)), a.left)])
	a.left, a.at = a.left-int64(n), a.at+int64(n)
	return n, Early(err)
}

// Cpio reads an archive in the new portable form (cpio(5)), with or without checksums. Read reads the member that Next
// returned last. It reads nothing behind the archive's end.
type Cpio struct {
	r         io.Reader
	left, pad int64 // of the member
}

// CpioMember is a member of a cpio archive.
type CpioMember struct {
	Name  string
	Mode  uint32 // as stat(2) has it: type and permissions
	Size  int64
	Inode uint32
	Links uint32
	Major uint32 // of the device that the inode is on
	Minor uint32
}

// NewCpio reads an archive from its first byte.
func NewCpio(r io.Reader) *Cpio { return &Cpio{r: r} }

// MaxName bounds a member's name, in bytes.
const MaxName = 4096

// Next goes to the next member. It returns io.EOF after the last.
func (c *Cpio) Next() (CpioMember, error) {
	if _, err := io.CopyN(io.Discard, c.r, c.left+c.pad); err != nil {
		return CpioMember{}, Early(err)
	}
	c.left, c.pad = 0, 0
	head := make([]byte, 110)
	if _, err := io.ReadFull(c.r, head); err != nil {
		return CpioMember{}, Early(err)
	}
	switch magic := string(head[:6]); magic {
	case "070701", "070702":
	case "07070X":
		return CpioMember{}, errors.New("its files are listed in the header only, as for sizes over 4 GB: " +
			"take them from a tar that rpm2archive makes")
	default:
		return CpioMember{}, errors.New("no header where a member begins")
	}
	// inode, mode, user, group, links, time, size, device (2), device it is (2), length of the name, checksum
	var f [13]uint32
	for i := range f {
		n, err := strconv.ParseUint(string(head[6+8*i:14+8*i]), 16, 32)
		if err != nil {
			return CpioMember{}, errors.New("a damaged header of a member")
		}
		f[i] = uint32(n)
	}
	length := int64(f[11])
	if length < 1 || length > MaxName {
		return CpioMember{}, fmt.Errorf("a member's name of %d bytes", length)
	}
	name := make([]byte, length+pad4(110+length))
	if _, err := io.ReadFull(c.r, name); err != nil {
		return CpioMember{}, Early(err)
	}
	m := CpioMember{strings.TrimSuffix(string(name[:length]), "\x00"), f[1], int64(f[6]), f[0], f[4], f[7], f[8]}
	if m.Name == "TRAILER!!!" {
		return CpioMember{}, io.EOF
	}
	c.left, c.pad = m.Size, pad4(m.Size)
	return m, nil
}

func (c *Cpio) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, Early(err)
}

func pad4(n int64) int64 { return -n & 3 }

// RPMPayload goes to the payload of an RPM package, and returns where in it that begins: after the lead (96 bytes), the
// signature's header, padded to 8, and the package's header. It skips by seeking if r is an io.Seeker.
func RPMPayload(r io.Reader) (at int64, err error) {
	lead := make([]byte, 96)
	if _, err := io.ReadFull(r, lead); err != nil {
		return 0, Early(err)
	}
	if !bytes.HasPrefix(lead, []byte(RPMMagic)) {
		return 0, errors.New("no rpm")
	}
	at = int64(len(lead))
	for _, align := range []int64{8, 1} {
		intro := make([]byte, 16)
		if _, err := io.ReadFull(r, intro); err != nil {
			return 0, Early(err)
		}
		if !bytes.HasPrefix(intro, []byte("\x8e\xad\xe8\x01")) {
			return 0, errors.New("a header is not where it belongs")
		}
		n := 16*int64(binary.BigEndian.Uint32(intro[8:])) + int64(binary.BigEndian.Uint32(intro[12:]))
		n += -n & (align - 1)
		if err := skip(r, n); err != nil {
			return 0, err
		}
		at += int64(len(intro)) + n
	}
	return at, nil
}

// skip passes n bytes over. Behind the end of what can seek, it is the next read that fails.
func skip(r io.Reader, n int64) error {
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	return Early(err)
}

// Early is what an end means where more must come.
func Early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
