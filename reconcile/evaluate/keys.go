package evaluate

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"bakehouse/reconcile/evaluate/named"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func (b *builder) keyExpiry(n *result.Node) schema.KeyExpiry {
	e := schema.DefaultKeyExpiry
	for name, into := range map[string]*schema.Duration{"warn": &e.Warn, "critical": &e.Critical} {
		if v := n.Get(name); v != nil {
			*into = b.duration(v)
		}
	}
	if e.Critical > e.Warn {
		if n.Get("warn") != nil {
			b.problem(n, "keyExpiry: critical begins before warn").Hint = "warn is the longer one of the two"
		}
		e.Warn = e.Critical
	}
	return e
}

// key reads one key; nil, with a problem noted, if its public half cannot be read.
func (b *builder) key(name string, v *result.Node) *fleet.Key {
	public, certificate := v.Get("public"), v.Get("certificate")
	if (public == nil) == (certificate == nil) {
		b.problem(v, "key %s needs one of public and certificate",
			name).Hint = "`bakehouse key create` and `key import` write it"
		return nil
	}
	k := &fleet.Key{Name: name, Uses: v.Get("uses").Strs(), Private: v.Get("private").Str()}
	if k.Private == "" {
		k.Private = name + ".key"
	}
	var der []byte
	var err error
	from := public
	if certificate != nil {
		from = certificate
		der, err = certified(k, certificate.Text)
	} else {
		der, err = publicKey(public.Text)
	}
	k.Pos = from.At()
	if err != nil {
		b.problem(from, "key %s: %v", name, err)
		return nil
	}
	// Written alike however it was pasted, so that packages do not change with the white space.
	k.Public = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	for field, into := range map[string]*time.Time{"expires": &k.Expires, "retired": &k.Retired} {
		n := v.Get(field)
		if n == nil {
			continue
		}
		t, err := time.Parse(time.RFC3339, n.Text)
		if err != nil {
			b.problem(n, "key %s: %v", name, err)
		}
		if into.IsZero() || t.Before(*into) {
			*into = t
		}
	}
	return k
}

// publicKey is the SubjectPublicKeyInfo in a PEM block.
func publicKey(text string) ([]byte, error) {
	block, err := onlyBlock("public", "PUBLIC KEY", text)
	if err != nil {
		return nil, err
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("public is not a public key: %w", err)
	}
	return block.Bytes, fleet.CheckKeyType(pub)
}

// certified gives k the public half and the times of a certificate.
func certified(k *fleet.Key, text string) ([]byte, error) {
	block, err := onlyBlock("certificate", "CERTIFICATE", text)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	k.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	k.NotBefore, k.Expires = cert.NotBefore.UTC(), cert.NotAfter.UTC()
	der, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	return der, fleet.CheckKeyType(cert.PublicKey)
}

// onlyBlock is the one PEM block of a field.
func onlyBlock(field, kind, text string) (*pem.Block, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, fmt.Errorf("%s is not PEM", field)
	case strings.Contains(block.Type, "PRIVATE KEY"):
		return nil, fmt.Errorf("%s holds a private key: everyone who reads the repo has it, so make another", field)
	case block.Type != kind:
		return nil, fmt.Errorf("%s is a %s, not a %s", field, block.Type, kind)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("%s holds more than one PEM block", field)
	}
	return block, nil
}

// maxPrivate is the size from which on a file is not looked at for private keys.
const maxPrivate = 64 << 10

// readPrivate refuses private keys in the clear, in keys/ and beside it: whoever reads the repo has them. Encrypted
// ones may lie there.
func (b *builder) readPrivate() {
	for _, dir := range []string{".", "keys", "trust"} {
		entries, err := fs.ReadDir(b.fsys, dir)
		if err != nil {
			continue // reported where it is read, or not there
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil || !e.Type().IsRegular() || info.Size() > maxPrivate || named.CUE(e.Name()) {
				continue
			}
			name := path.Join(dir, e.Name())
			if text, err := readFile(b.fsys, name, maxPrivate); err == nil {
				b.refusePrivate(name, text)
			}
		}
	}
}

func (b *builder) refusePrivate(name string, text []byte) {
	for rest := text; ; {
		var block *pem.Block
		before := rest
		if block, rest = pem.Decode(before); block == nil {
			return
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") || encrypted(block) {
			continue
		}
		at := len(text) - len(before) + bytes.Index(before, []byte("-----BEGIN "+block.Type))
		b.ps = append(b.ps, fleet.Problem{Pos: fleet.Pos{File: name, Line: 1 + bytes.Count(text[:at], []byte("\n")), Col: 1},
			Msg:  "is a private key that is not encrypted: everyone who reads the repo has it",
			Hint: "remove it, and no longer use the key; `bakehouse key import` keeps keys encrypted outside of the repo"})
	}
}

// encrypted reports whether a private key takes a passphrase to read.
func encrypted(block *pem.Block) bool {
	if strings.HasPrefix(block.Type, "ENCRYPTED ") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return true
	}
	// OpenSSH's own format says the cipher first; "none" is in the clear.
	cipher, ok := bytes.CutPrefix(block.Bytes, []byte("openssh-key-v1\x00"))
	return ok && !bytes.HasPrefix(cipher, []byte("\x00\x00\x00\x04none"))
}
