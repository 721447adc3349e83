package state

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/plain"
)

func describeCertificates(pems []string) string {
	if len(pems) == 0 {
		return "the public authorities"
	}
	var out []string
	for _, p := range pems {
		certs, err := schema.ParseCertificates(p)
		if err != nil {
			out = append(out, "unreadable: "+err.Error())
			continue
		}
		for _, c := range certs {
			name := wire.CertificateName(c.Subject.CommonName, c.DNSNames)
			out = append(out, fmt.Sprintf("%s until %s", name, c.NotAfter.UTC().Format(time.DateOnly)))
		}
	}
	return strings.Join(out, "; ")
}

func describeProxy(p schema.Proxy) string {
	switch p.Mode {
	case "explicit":
	case "":
		return "none"
	default:
		return p.Mode
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return "explicit (unreadable)"
	}
	if u.User != nil {
		u.User = url.User("hidden")
	}
	return u.String()
}

func describeAnchor(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	var root struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if json.Unmarshal(b, &root) != nil {
		return "unreadable"
	}
	return fmt.Sprintf("root %d, sha256 %s", root.Signed.Version, schema.DigestOf(b).Short())
}

func describeKeys(keys []schema.AcceptedKey) string {
	var out []string
	for _, k := range keys {
		id := "unreadable"
		if pub, err := schema.ParsePublicKey(k.Public); err == nil {
			if der, err := x509.MarshalPKIXPublicKey(pub); err == nil {
				id = "sha256 " + schema.DigestOf(der).Short()
			}
		}
		if !k.Expires.IsZero() {
			id += ", until " + k.Expires.UTC().Format(time.DateOnly)
		}
		out = append(out, fmt.Sprintf("%s (%s)", plain.Name(k.Name), id))
	}
	return strings.Join(out, ", ")
}
