package output

import (
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// What a file with `pem` may have to hold.
const (
	pemCertificates = "certificates"
	pemCertificate  = "certificate" // of the private key beside it, with its chain
	pemKey          = "key"
)

// pemFile is a file whose text has to be PEM.
type pemFile struct {
	kind string
	path string
	n    *result.Node // its content
}

// pems checks the files that have to be PEM: whoever reads them does so on the host, when it starts. No error prints
// what they hold.
func (d *decoder) pems(files *result.Node) {
	var all []pemFile
	for name, n := range files.ByName() {
		kind, content := n.Get("pem").Str(), n.Get("content")
		if kind == "" || content == nil {
			continue
		}
		if err := checkPEM(kind, content.Text); err != nil {
			d.refuse(content, "file %s: %v", result.Quote(name), err)
			continue
		}
		all = append(all, pemFile{kind, name, content})
	}
	for _, key := range all {
		i := slices.IndexFunc(all, func(f pemFile) bool {
			return f.kind == pemCertificate && path.Dir(f.path) == path.Dir(key.path)
		})
		if key.kind == pemKey && i >= 0 && !belong(all[i].n.Text, key.n.Text) {
			d.refuse(key.n, "file %s: the private key is not that of the certificate %s", result.Quote(key.path),
				result.Quote(all[i].path))
			d.ps[len(d.ps)-1].Also = []fleet.Pos{all[i].n.At()}
		}
	}
}

func checkPEM(kind, text string) error {
	if kind != pemKey {
		_, err := schema.ParseCertificates(text)
		return err
	}
	block, rest := keyBlock(text)
	switch {
	case block == nil && strings.Contains(text, "-----BEGIN "):
		return errors.New("the PEM block is damaged or cut off")
	case block == nil:
		return errors.New("no private key found: want PEM")
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return errors.New("the private key has a passphrase, which nobody can type on a host: " +
			"remove it with `openssl pkey`")
	case !strings.HasSuffix(block.Type, "PRIVATE KEY") || strings.HasPrefix(block.Type, "OPENSSH"):
		return fmt.Errorf("found a PEM block %.40q: want PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY", block.Type)
	}
	var whole asn1.RawValue
	after, err := asn1.Unmarshal(block.Bytes, &whole)
	if err != nil || len(after) > 0 || whole.Tag != asn1.TagSequence {
		return errors.New("the private key is damaged")
	}
	if strings.Contains(string(rest), "PRIVATE KEY-----") {
		return errors.New("found more than one private key")
	}
	return nil
}

// keyBlock is the first block that is not the parameters of the key after it, and what follows.
func keyBlock(text string) (*pem.Block, []byte) {
	block, rest := pem.Decode([]byte(text))
	for block != nil && strings.HasSuffix(block.Type, "PARAMETERS") {
		block, rest = pem.Decode(rest)
	}
	return block, rest
}

// belong reports whether a key is that of a certificate, or of a kind that this program does not know.
func belong(certificate, key string) bool {
	certs, err := schema.ParseCertificates(certificate)
	if err != nil || len(certs) == 0 {
		return true
	}
	block, _ := keyBlock(key)
	for _, parse := range []func([]byte) (any, error){
		x509.ParsePKCS8PrivateKey,
		func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
	} {
		private, err := parse(block.Bytes)
		signer, ok := private.(crypto.Signer)
		if err != nil || !ok {
			continue
		}
		public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
		return !ok || public.Equal(certs[0].PublicKey)
	}
	return true
}
