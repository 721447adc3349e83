// Package seal signs copies of packages for package managers and repository tools. What is published stays as it is: a
// copy is another file, which Bakehouse's hosts never see.
package seal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/bake/rpmheader"
	"bakehouse/schema"
)

// OpenPGP makes binary detached signatures.
type OpenPGP interface {
	Sign(message io.Reader) ([]byte, error)
	RSA() bool // or another algorithm
}

// Write writes a copy of a package to w that carries an OpenPGP signature where its package manager, or a repository's
// tools, look for it: in an rpm over its header, which has the payload's digest; in a deb over its members, as debsigs
// does. To them and to a host's updater it is the same package. Of other formats it is a plain copy.
func Write(w io.Writer, r io.ReaderAt, size int64, format schema.Format, s OpenPGP) error {
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

func sealRpm(w io.Writer, r io.Reader, s OpenPGP) error {
	lead := make([]byte, 96)
	if _, err := io.ReadFull(r, lead); err != nil {
		return err
	}
	old, err := rpmheader.Read(r)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, -int64(len(old))&7); err != nil {
		return err
	}
	header, err := rpmheader.Read(r)
	if err != nil {
		return err
	}
	signature, err := s.Sign(bytes.NewReader(header))
	if err != nil {
		return err
	}
	var sig rpmheader.Header
	if err := sig.Decode(old); err != nil {
		return err
	}
	tag := uint32(sigOther)
	if s.RSA() {
		tag = sigRSA
	}
	sig = slices.DeleteFunc(sig, func(e rpmheader.Entry) bool { return e.Tag == sigRSA || e.Tag == sigOther })
	sig.Add(tag, rpmheader.Binary, len(signature), signature)
	index, values := rpmheader.Encode(rpmheader.TagHeaderSignatures, sig, nil)
	index = append(index, values...)
	for _, b := range [][]byte{lead, index, make([]byte, -len(index)&7), header} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	_, err = io.Copy(w, r)
	return err
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
	_, err = w.Write(slices.Concat(bake.ArHeader("_gpgorigin", size), signature, bake.ArPadding(size)))
	return err
}
