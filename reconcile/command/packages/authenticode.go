package packages

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/msi"
)

// authenticode is whom Windows shall know a copy of a package by: a file with a private key and one with its
// certificate and those above it, in PEM. Only RSA signs one file the same way twice.
type authenticode struct{ key, certificate string }

// check returns from when on the certificate is valid, which stands for the time of signing.
func (a authenticode) check() (since time.Time, err error) {
	if (a.key == "") != (a.certificate == "") {
		return since, fault.Hint(errors.New("--authenticode-key and --authenticode-certificate belong together"),
			"set both")
	}
	if a.key == "" {
		return since, nil
	}
	b, err := os.ReadFile(a.certificate)
	if err != nil {
		return since, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return since, fmt.Errorf("%s holds no certificate in PEM", a.certificate)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return since, fmt.Errorf("%s: %w", a.certificate, err)
	}
	if c.PublicKeyAlgorithm != x509.RSA {
		return since, fault.Hint(fmt.Errorf("%s is for a key of the type %s", a.certificate, c.PublicKeyAlgorithm),
			"sign with an RSA key: other signatures are others each time")
	}
	return c.NotBefore, nil
}

// signedTo writes a copy of the package that carries the signature. osslsigncode makes it, and lays the file out anew.
func (a authenticode) signedTo(
	ctx context.Context, file string, m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error),
) (got *fetched, err error) {
	if m.Format != schema.Msi {
		return nil, fault.Hint(fmt.Errorf("the package is a %s, and Authenticode is for Windows", m.Format),
			"leave out --authenticode-key, or sign with --openpgp-key")
	}
	tool, err := exec.LookPath("osslsigncode")
	if err != nil {
		return nil, fault.Hint(err, "install osslsigncode, which makes the signature")
	}
	dir, err := os.MkdirTemp("", "bakehouse-authenticode-*")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	whole, signed := filepath.Join(dir, "whole.msi"), filepath.Join(dir, "signed.msi")
	if err := assembleTo(whole, func(w io.Writer) error { return m.Assemble(w, open) }); err != nil {
		return nil, err
	}
	since, err := a.check()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, tool, "sign", "-h", "sha256", "-st", strconv.FormatInt(since.Unix(), 10),
		"-certs", a.certificate, "-key", a.key, "-in", whole, "-out", signed)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("osslsigncode: %w: %.300q", err, strings.TrimSpace(string(out)))
	}
	f, err := os.Open(signed)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := sameProduct(whole, f); err != nil {
		return nil, err
	}
	sum := sha256.New()
	got = &fetched{File: file, Package: m.SHA256}
	err = assembleTo(file, func(w io.Writer) (err error) {
		got.Size, err = io.Copy(io.MultiWriter(w, sum), f)
		return err
	})
	got.SHA256 = schema.Digest(sum.Sum(nil))
	return got, err
}

// sameProduct sees that what came back of the tool is what it was given, and can be read.
func sameProduct(whole string, signed *os.File) error {
	before, err := os.Open(whole)
	if err != nil {
		return err
	}
	defer before.Close()
	var codes [2]string
	for i, f := range []*os.File{before, signed} {
		fi, err := f.Stat()
		if err != nil {
			return err
		}
		p, err := msi.Open(f, fi.Size())
		if err == nil {
			err = p.Extract(func(_ msi.File, r io.Reader) error { _, err := io.Copy(io.Discard, r); return err })
		}
		if err != nil {
			return err
		}
		codes[i] = p.ProductID + p.PackageID
	}
	if codes[0] != codes[1] {
		return errors.New("osslsigncode made another package")
	}
	return nil
}
