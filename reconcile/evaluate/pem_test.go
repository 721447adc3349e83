package evaluate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// pair is a new certificate and its private key in PEM, as CUE writes text.
func pair(t *testing.T, block string, marshal func(*ecdsa.PrivateKey) ([]byte, error)) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := marshal(private)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return fmt.Sprintf("%q", pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return text("CERTIFICATE", der), text(block, encoded)
}

func pkcs8(k *ecdsa.PrivateKey) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(k) }

// The agent would find it out on the host, when it starts.
func TestCertificatesAndKeysOfAnAgentAreReadBeforeItReadsThem(t *testing.T) {
	f := fleetWithZabbix(t)
	cert, key := pair(t, "PRIVATE KEY", pkcs8)
	_, other := pair(t, "EC PRIVATE KEY", x509.MarshalECPrivateKey)
	ec, ecKey := pair(t, "EC PRIVATE KEY", x509.MarshalECPrivateKey)
	cut := func(s string) string { return strings.Replace(s, `-----END`, `----`, 1) }
	for name, c := range map[string]struct{ value, want string }{
		"a pair":                 {"certificate: " + cert + ", privateKey: " + key, ""},
		"a pair of another form": {"ca: " + cert + ", certificate: " + ec + ", privateKey: " + ecKey, ""},
		"another's key": {"certificate: " + cert + ", privateKey: " + other,
			"hosts/given.cue:2:"},
		"a key as certificate":   {"certificate: " + key, `found a PEM block "PRIVATE KEY": want CERTIFICATE`},
		"a key as authority":     {"ca: " + key, `found a PEM block "PRIVATE KEY": want CERTIFICATE`},
		"a certificate as key":   {"privateKey: " + cert, `found a PEM block "CERTIFICATE": want PRIVATE KEY`},
		"a certificate, cut off": {"certificate: " + cut(cert), "PEM block 1 is damaged or cut off"},
		"a key, cut off":         {"privateKey: " + cut(key), "the PEM block is damaged or cut off"},
		"a key that is none inside": {`privateKey: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"`,
			"damaged"},
		"a key with a passphrase": {`privateKey: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED ` +
			`PRIVATE KEY-----\n"`, "the private key has a passphrase"},
		"a key of ssh": {`privateKey: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"`,
			`found a PEM block "OPENSSH PRIVATE KEY"`},
		"an empty certificate": {`certificate: ""`, "certificate"},
	} {
		value := `tls: {mode: "certificate", ` + c.value + "}"
		err := checked(t, f, "zabbix_agent2", value).Err()
		if err == nil {
			_, err = outputOf(t, f, "zabbix_agent2", value)
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "hosts/given.cue:2:")):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
