package schema

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// ParseCertificates reads all certificates in PEM text, with whatever is written between them. Other blocks, such as a
// private key put there by mistake, are an error, and so is a block that is damaged or cut off.
func ParseCertificates(s string) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := []byte(s); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("found a PEM block %.40q: want CERTIFICATE", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	switch begun := bytes.Count([]byte(s), []byte("-----BEGIN ")); {
	case begun == 0:
		return nil, errors.New("no certificate found: want PEM")
	case begun > len(certs): // the decoder passes over what it cannot read
		return nil, fmt.Errorf("PEM block %d is damaged or cut off", len(certs)+1)
	}
	return certs, nil
}

// ParsePublicKey reads a public key in PEM text (SubjectPublicKeyInfo).
func ParsePublicKey(s string) (any, error) {
	block, _ := pem.Decode([]byte(s))
	if block == nil {
		return nil, errors.New("not a PEM file")
	}
	return x509.ParsePKIXPublicKey(block.Bytes)
}
