package wire

import "strings"

// Printable makes text that came from elsewhere safe for logs and terminals: one line, without control characters and
// changes of direction, at most 300 bytes.
func Printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0xfffd || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return ' '
		}
		return r
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// CertificateName is the common name of a certificate's subject or issuer, or the first of its other names.
func CertificateName(commonName string, others []string) string {
	if commonName == "" && len(others) > 0 {
		commonName = others[0]
	}
	return Printable(commonName)
}
