package contact

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"bakehouse/agent/state"
	"bakehouse/agent/trust"
	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

const maxPEM = 1 << 20

// Options say what a host believes at first contact.
type Options struct {
	CA        string // file of certificates
	TrustCert bool   // the certificate that the server shows now
	Insecure  bool   // any, for this call

	Anchor          string   // file of root metadata, for a host without a package
	Keys            []string // files of public keys, likewise
	RootFingerprint string   // SHA-256 of the server's root metadata, likewise
	SkipSignatures  bool     // any root that the server has, likewise
}

// Warn is told what a choice gives up.
type Warn func(format string, args ...any)

// Check refuses what does not go together.
func (o Options) Check(server string) error {
	given := func(flags ...string) error {
		return fault.Hint(fmt.Errorf("%s exclude each other", strings.Join(flags, " and ")), "use one of them")
	}
	encrypted := strings.HasPrefix(server, "https:")
	switch {
	case o.TrustCert && o.CA != "":
		return given("--trust-cert", "--ca")
	case o.TrustCert && o.Insecure:
		return given("--trust-cert", "--insecure")
	case o.TrustCert && !encrypted:
		return fault.Hint(fmt.Errorf("--trust-cert: %s shows no certificate", server),
			"use the https:// URL of the server")
	case o.Insecure && !encrypted:
		return fault.Hint(fmt.Errorf("--insecure: %s has no certificate to verify", server), "leave the flag out")
	case o.RootFingerprint != "" && o.Anchor != "":
		return given("--root-fingerprint", "--anchor")
	case o.SkipSignatures && (o.Anchor != "" || o.RootFingerprint != ""):
		return given("--skip-signatures", "a root that is given")
	case o.SkipSignatures && len(o.Keys) > 0:
		return given("--skip-signatures", "--key")
	case o.RootFingerprint == "" && (o.Anchor == "") != (len(o.Keys) == 0):
		return fault.Hint(errors.New("only one of --anchor and --key is set"),
			"a first package is verified with both: --anchor trust/1.root.json --key KEY.pem")
	}
	_, err := o.fingerprint()
	return err
}

// fingerprint reads 64 hex digits as sha256sum and openssl print them.
func (o Options) fingerprint() (d schema.Digest, err error) {
	if o.RootFingerprint == "" {
		return d, nil
	}
	hex := strings.ToLower(strings.ReplaceAll(o.RootFingerprint, ":", ""))
	if d, err = schema.ParseDigest("sha256:" + strings.TrimPrefix(hex, "sha256")); err != nil {
		return d, fault.Hint(fmt.Errorf("invalid --root-fingerprint %.80q: want 64 hex digits", o.RootFingerprint),
			"it is what sha256sum trust/1.root.json prints in the fleet's repository")
	}
	return d, nil
}

// Certificates are those that vouch for the server from now on, besides those that the host has; nil if none are given.
// With TrustCert, the server of conf is asked for its own, over a connection that carries nothing of the host.
func (o Options) Certificates(ctx context.Context, conf wire.Config, warn Warn) ([]string, error) {
	switch {
	case o.CA != "":
		b, err := needFile(o.CA, maxPEM)
		var certs []*x509.Certificate
		if err == nil {
			if certs, err = schema.ParseCertificates(string(b)); err != nil {
				err = fmt.Errorf("%s: %w", o.CA, err)
			}
		}
		if err != nil {
			return nil, fault.Hint(err,
				"set --ca to a PEM file with the certificate of the authority that signed the server's")
		}
		return []string{state.PEM(certs)}, nil
	case !o.TrustCert:
		return nil, nil
	}
	u, err := wire.NewUnverified(conf)
	if err != nil {
		return nil, err
	}
	defer u.Close()
	c, err := u.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	warn("--trust-cert: the certificate that %s shows now is trusted, and nobody has vouched for it: %q, valid until "+
		"%s, SHA-256 fingerprint %s. Compare that with the server's: openssl x509 -noout -fingerprint -sha256 -in "+
		"server.pem. If it is another, somebody in between gets the password or token", u.Server(),
		wire.CertificateName(c.Subject.CommonName, c.DNSNames), c.NotAfter.UTC().Format(time.DateOnly),
		fingerprintOf(c))
	return []string{state.PEM([]*x509.Certificate{c})}, nil
}

// fingerprintOf is written as openssl writes it.
func fingerprintOf(c *x509.Certificate) string {
	hex := strings.ToUpper(schema.DigestOf(c.Raw).Hex())
	var pairs []string
	for ; len(hex) > 1; hex = hex[2:] {
		pairs = append(pairs, hex[:2])
	}
	return strings.Join(pairs, ":")
}

// GivesUp says what conf, a call to register, gives away, before a password is asked for.
func (o Options) GivesUp(conf wire.Config, warn Warn) {
	switch {
	case strings.HasPrefix(conf.Server, "http:"):
		warn("%s is plain HTTP: others on the network can read the password and this host's secret", conf.Server)
	case o.Insecure:
		warn("--insecure: the certificate of %s is not verified in this call: whoever answers in its place gets the "+
			"password or token, and the secret of this host is one that they know", conf.Server)
	case len(conf.Certificates) == 0:
		warn("no CA certificate is set: any public authority can vouch for the server")
	}
}

// Bootstrap is what the host verifies its first package with; nil if nothing is given. What is not in files comes from
// the server of conf, which gets no credentials for it.
func (o Options) Bootstrap(ctx context.Context, conf wire.Config, warn Warn) (*state.Bootstrap, error) {
	if o.Anchor == "" && o.RootFingerprint == "" && !o.SkipSignatures {
		return nil, nil
	}
	b := &state.Bootstrap{Unsigned: len(o.Keys) == 0}
	var err error
	if o.Anchor != "" {
		b.Anchor, err = readRoot(o.Anchor)
	} else {
		b.Anchor, err = o.serversRoot(ctx, conf)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range o.Keys {
		k, err := readKey(name)
		if err != nil {
			return nil, hintKeys(err)
		}
		b.Keys = append(b.Keys, k)
	}
	if o.SkipSignatures {
		warn("--skip-signatures: the root of %s is trusted from now on, whoever made it: SHA-256 %s. Compare that "+
			"with sha256sum trust/1.root.json in the fleet's repository", conf.Server, schema.DigestOf(b.Anchor).Hex())
	}
	if b.Unsigned {
		warn("the first package is verified by signed metadata alone: no signature key is known to this host yet. " +
			"Those that the package brings count from then on")
	}
	return b, nil
}

// serversRoot fetches the fleet's first root. One whose fingerprint is known may come from whoever has it.
func (o Options) serversRoot(ctx context.Context, conf wire.Config) ([]byte, error) {
	const name = "1.root.json"
	var b []byte
	var err error
	if o.RootFingerprint != "" {
		u, uerr := wire.NewUnverified(conf)
		if uerr != nil {
			return nil, uerr
		}
		defer u.Close()
		b, err = u.Metadata(ctx, name, schema.MaxRoot)
	} else {
		conf.User, conf.Password = "", ""
		c, cerr := wire.New(conf)
		if cerr != nil {
			return nil, cerr
		}
		defer c.Close()
		b, err = wire.Source{Client: c, NewestRoot: 1}.Metadata(ctx, name, schema.MaxRoot)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fault.Hint(fmt.Errorf("server %s has no first root: %w", conf.Server, err),
			"publish the fleet's first release there")
	}
	if err != nil {
		return nil, err
	}
	if want, _ := o.fingerprint(); o.RootFingerprint != "" && schema.DigestOf(b) != want {
		return nil, fault.Refuse(fmt.Errorf("the root of %s has the SHA-256 %s, not the one of --root-fingerprint",
			conf.Server, schema.DigestOf(b).Hex()), "compare it with sha256sum trust/1.root.json in the fleet's "+
			"repository: the server is another fleet's, or not to be trusted")
	}
	if _, err := trust.Open("", b, nil); err != nil {
		return nil, fmt.Errorf("the root of %s: %w", conf.Server, err)
	}
	return b, nil
}

func hintKeys(err error) error {
	if fault.HintOf(err) == "" {
		err = fault.Hint(err, "set --anchor to trust/1.root.json of the fleet's repository, "+
			"--key to what `bakehouse key show NAME` prints")
	}
	return err
}

func readRoot(name string) ([]byte, error) {
	b, err := needFile(name, schema.MaxRoot)
	if err == nil {
		if _, err = trust.Open("", b, nil); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	if err != nil {
		return nil, hintKeys(err)
	}
	return b, nil
}

func readKey(name string) (k schema.AcceptedKey, err error) {
	raw, err := needFile(name, maxPEM)
	if err != nil {
		return k, err
	}
	block, _ := pem.Decode(raw)
	if block != nil && strings.Contains(block.Type, "PRIVATE") {
		return k, fault.Hint(fmt.Errorf("%s holds a private key", name), "keep it off hosts: use its public half")
	}
	if _, err := schema.ParsePublicKey(string(raw)); err != nil {
		return k, fmt.Errorf("%s: %w", name, err)
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	public := pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})
	return schema.AcceptedKey{Name: strings.TrimSuffix(base, ".pem"), Public: string(public)}, nil
}

func needFile(name string, limit int64) ([]byte, error) {
	b, err := state.ReadFile(name, limit)
	if err == nil && b == nil {
		err = fmt.Errorf("%s: no such file", name)
	}
	return b, err
}
