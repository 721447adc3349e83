package evaluate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// certificate makes a key's certificate for a time.
func certificate(t *testing.T, curve elliptic.Curve, from, to time.Time) string {
	t.Helper()
	priv, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "release"}, NotBefore: from,
		NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, c, c, priv.Public(), priv)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestACertificateGivesTheKeyAndItsTimes(t *testing.T) {
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	cert := certificate(t, elliptic.P256(), from, to)
	for name, c := range map[string]struct{ expires, want time.Time }{
		"its end":                    {time.Time{}, to},
		"an expires before its end":  {to.AddDate(-1, 0, 0), to.AddDate(-1, 0, 0)},
		"an expires behind its end":  {to.AddDate(1, 0, 0), to},
		"an expires before its time": {from.AddDate(-1, 0, 0), from.AddDate(-1, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			f := loaded(t, repo(map[string]string{"keys/ca.cue": string(fleet.KeyFile(fleet.Key{Name: "ca", Certificate: cert,
				Uses: []string{fleet.UsePackage}, Expires: c.expires}))}))
			k := f.Keys["ca"]
			if k == nil || !k.Expires.Equal(c.want) || !k.NotBefore.Equal(from) || k.Certificate != cert ||
				!strings.Contains(k.Public, "BEGIN PUBLIC KEY") {
				t.Errorf("got %+v", k)
			}
		})
	}
}

func TestKeysThatNoHostCouldVerifyWithAreRefusedAtTheirPlace(t *testing.T) {
	now := time.Now()
	p384 := certificate(t, elliptic.P384(), now, now.Add(time.Hour))
	indent := func(pem string) string {
		return "\"\"\"\n\t" + strings.ReplaceAll(strings.TrimSpace(pem), "\n", "\n\t") + "\n\t\"\"\""
	}
	for name, c := range map[string]struct{ key, want string }{
		"neither a key nor a certificate": {`uses: ["package"]`, "keys/k.cue:3:7: key k needs one of public and certificate"},
		"both": {"uses: [\"package\"], public: " + indent(testKey) + ", certificate: " +
			indent(p384), "key k needs one of public and certificate"},
		"a curve other than P-256": {"uses: [\"package\"], certificate: " + indent(p384),
			"keys/k.cue:3:30: key k: an ECDSA key on P-384: only P-256 is accepted"},
		"a key in place of a certificate": {"uses: [\"package\"], certificate: " + indent(testKey),
			"certificate is a PUBLIC KEY, not a CERTIFICATE"},
	} {
		t.Run(name, func(t *testing.T) {
			got := refused(t, repo(map[string]string{"keys/k.cue": "package keys\n\nkeys: k: {" + c.key + "}\n"}))
			if !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestAPrivateKeyInTheClearIsAnErrorWhereItStands(t *testing.T) {
	block := func(kind string, headers map[string]string, body string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte(body)}))
	}
	for name, c := range map[string]struct {
		file, text string
		line       string // where it is refused; empty: it is not
	}{
		"PKCS #8 in keys": {"keys/release.key", block("PRIVATE KEY", nil, "x"), "keys/release.key:1:1"},
		"PKCS #1 behind a public key": {"keys/release.pem", testKey + block("RSA PRIVATE KEY", nil, "x"),
			"keys/release.pem:4:1"},
		"SEC 1 beside keys": {"ca.pem", "a comment\n" + block("EC PRIVATE KEY", nil, "x"), "ca.pem:2:1"},
		"OpenSSH without a cipher": {"keys/id",
			block("OPENSSH PRIVATE KEY", nil, "openssh-key-v1\x00\x00\x00\x00\x04none\x00\x00\x00\x04none"), "keys/id:1:1"},
		"OpenSSH with a cipher": {"keys/id",
			block("OPENSSH PRIVATE KEY", nil, "openssh-key-v1\x00\x00\x00\x00\x0aaes256-ctr"), ""},
		"sigstore's encrypted form": {"keys/release.key", block("ENCRYPTED SIGSTORE PRIVATE KEY", nil, "{}"), ""},
		"encrypted PKCS #8":         {"keys/release.key", block("ENCRYPTED PRIVATE KEY", nil, "x"), ""},
		"OpenSSL's encrypted form": {"keys/release.key",
			block("RSA PRIVATE KEY", map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, "x"), ""},
		"a public key": {"keys/release.pem", testKey, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := repo(map[string]string{c.file: c.text, "keys/k.cue": "package keys\n"})
			if c.line == "" {
				loaded(t, fsys)
				return
			}
			if got := refused(t, fsys); !strings.Contains(got, c.line+": is a private key that is not encrypted") {
				t.Errorf("got %s, want it at %s", got, c.line)
			}
		})
	}
}

// agentJSON is what the updater bakes for a fleet with these keys.
func agentJSON(t *testing.T, files map[string]string) (*schema.AgentConfig, string) {
	t.Helper()
	out, err := outputOf(t, loaded(t, repo(files)), fleet.UpdaterPlugin, "")
	if err != nil {
		t.Fatal(err)
	}
	b := fileOf(t, out, schema.ConfigFile("linux")).Content
	c, err := schema.DecodeAgentConfig(b)
	if err != nil {
		t.Fatal(err)
	}
	return c, string(b)
}

func TestAHostIsToldWhenItsKeysExpireAndNothingOfRetiredOnes(t *testing.T) {
	end := time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC)
	one := fleet.Key{Name: "one", Public: testKey, Uses: []string{fleet.UsePackage}}
	two := fleet.Key{Name: "two", Public: strings.Replace(testKey, "Gb9E", "Hb9E", 1), Uses: []string{fleet.UsePackage}}
	files := map[string]string{"trust/1.root.json": "{}\n", "keys/one.cue": string(fleet.KeyFile(one)),
		"keys/two.cue": strings.Replace(string(fleet.KeyFile(two)), "\tuses:",
			"\tretired: \"2026-01-01T00:00:00Z\"\n\tuses:", 1)}
	if c, text := agentJSON(t, files); len(c.Keys) != 1 ||
		c.Keys[0] != (schema.AcceptedKey{Name: "one", Public: testKey}) || strings.Contains(strings.ToLower(text), "expir") {
		t.Errorf("got %s", text) // and nothing that would make every package of the version before another one
	}
	one.Expires = end
	files["keys/one.cue"] = string(fleet.KeyFile(one))
	files["expiry.cue"] = "package fleet\nkeyExpiry: warn: \"60d\"\n"
	c, text := agentJSON(t, files)
	if len(c.Keys) != 1 || !c.Keys[0].Expires.Equal(end) || c.KeyExpiry == nil || c.KeyExpiry.Warn.String() != "60d" ||
		c.KeyExpiry.Critical != schema.DefaultKeyExpiry.Critical {
		t.Errorf("got %s", text)
	}
	files["hosts/rules.cue"] = "package hosts\n\nrules: updater: [{value: keys: [\"two\"]}]\n"
	if got := refused(t, repo(files)); !strings.Contains(got,
		"hosts/rules.cue:3:33: key two is retired, so no package is signed with it (see also keys/two.cue:") {
		t.Errorf("got %s", got)
	}
}
