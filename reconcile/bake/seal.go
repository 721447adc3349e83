package bake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema"
)

// OpenPGP makes binary detached signatures.
type OpenPGP interface {
	Sign(message io.Reader) ([]byte, error)
	RSA() bool // or another algorithm
}

// Seal writes a copy of a package to w that carries an OpenPGP signature as its package manager, or a repository's tools,
// look for it: in an rpm over its header, which has the payload's digest; in a deb over its members, as debsigs does. It is
// the same package to them and to a host's updater, and another file: what is published and signed stays as it is. Of other
// formats it is a plain copy.
func Seal(w io.Writer, r io.ReaderAt, size int64, format schema.Format, s OpenPGP) error {
	switch format {
	case schema.Rpm:
		return sealRpm(w, io.NewSectionReader(r, 0, size), s)
	case schema.Deb:
		return sealDeb(w, io.NewSectionReader(r, 0, size), s)
	}
	_, err := io.Copy(w, io.NewSectionReader(r, 0, size))
	return err
}

// Tags of an rpm's signatures over its header.
const (
	sigRSA   = 268
	sigOther = 267 // of DSA, they say, and hold what is not RSA
)

// maxRpmHeader bounds what is read of a header, in bytes.
const maxRpmHeader = 256 << 20

func sealRpm(w io.Writer, r io.Reader, s OpenPGP) error {
	lead := make([]byte, 96)
	if _, err := io.ReadFull(r, lead); err != nil {
		return err
	}
	old, err := readHeader(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, -int64(len(old))&7); err != nil {
		return err
	}
	header, err := readHeader(r)
	if err != nil {
		return err
	}
	signature, err := s.Sign(bytes.NewReader(header))
	if err != nil {
		return err
	}
	var sig rpmHeader
	if err := sig.read(old); err != nil {
		return err
	}
	tag := uint32(sigOther)
	if s.RSA() {
		tag = sigRSA
	}
	sig = slices.DeleteFunc(sig, func(e rpmEntry) bool { return e.tag == sigRSA || e.tag == sigOther })
	sig.add(tag, rpmBinary, len(signature), signature)
	index, values := encodeHeader(tagHeaderSignatures, sig, nil)
	index = append(index, values...)
	for _, b := range [][]byte{lead, index, make([]byte, -len(index)&7), header} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, r)
	return err
}

var errNoHeader = errors.New("has no rpm header where one belongs")

// readHeader reads a header as it stands.
func readHeader(r io.Reader) ([]byte, error) {
	intro := make([]byte, 16)
	if _, err := io.ReadFull(r, intro); err != nil {
		return nil, err
	}
	n := 16*int64(binary.BigEndian.Uint32(intro[8:])) + int64(binary.BigEndian.Uint32(intro[12:]))
	if !bytes.HasPrefix(intro, []byte{0x8e, 0xad, 0xe8, 1}) || n > maxRpmHeader {
		return nil, errNoHeader
	}
	rest := make([]byte, n)
	_, err := io.ReadFull(r, rest)
	return append(intro, rest...), err
}

// read adds the entries of an encoded header, its region aside. Of kinds it knows those that bake writes into signatures.
func (h *rpmHeader) read(b []byte) error {
	n := int(binary.BigEndian.Uint32(b[8:]))
	if 16+16*n > len(b) {
		return errNoHeader
	}
	store := b[16+16*n:]
	for i := range n {
		field := func(k int) uint32 { return binary.BigEndian.Uint32(b[16+16*i+4*k:]) }
		tag, kind, offset, count := field(0), field(1), int(field(2)), int(field(3))
		if tag == tagHeaderSignatures {
			continue
		}
		if offset > len(store) {
			return errNoHeader
		}
		data := store[offset:]
		length := count
		switch kind {
		case rpmString:
			length = bytes.IndexByte(data, 0) + 1
		case rpmInt32:
			length = 4 * count
		case rpmBinary:
		default:
			return fmt.Errorf("its signature has a value of the unknown kind %d", kind)
		}
		if length < 1 || length > len(data) {
			return errNoHeader
		}
		h.add(tag, kind, count, data[:length])
	}
	return nil
}

func sealDeb(w io.Writer, r *io.SectionReader, s OpenPGP) error {
	const magic = "!<arch>\n"
	var members []io.Reader
	at := int64(len(magic))
	for at < r.Size() {
		header := make([]byte, 60)
		if _, err := r.ReadAt(header, at); err != nil {
			return fmt.Errorf("ar archive: %w", err)
		}
		size, err := strconv.ParseInt(strings.TrimSpace(string(header[48:58])), 10, 64)
		if err != nil || size < 0 || size > r.Size()-at-60 {
			return errors.New("has an ar member without a size")
		}
		members = append(members, io.NewSectionReader(r, at+60, size))
		at += 60 + size + size&1
	}
	if len(members) != 3 {
		return fmt.Errorf("has %d members, a deb of bake has 3", len(members))
	}
	signature, err := s.Sign(io.MultiReader(members...))
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return err
	}
	size := int64(len(signature))
	_, err = w.Write(slices.Concat(arHeader("_gpgorigin", size), signature, arPadding(size)))
	return err
}
