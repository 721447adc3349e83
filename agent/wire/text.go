package wire

import "bakehouse/schema/plain"

// CertificateName is the common name of a certificate's subject or issuer, or the first of its other names.
func CertificateName(commonName string, others []string) string {
	if commonName == "" && len(others) > 0 {
		commonName = others[0]
	}
	return plain.Name(commonName)
}
