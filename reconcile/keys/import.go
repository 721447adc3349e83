package keys

import (
	"bytes"
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature/options"

	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Import is a key that was made elsewhere.
type Import struct {
	New // without a type

	File                string // private half, PEM; "-": Stdin
	Stdin               io.Reader
	Passphrase          *PassphraseSource // of File
	Public, Certificate string            // files
}

// Completes reports whether only a private half is added, to a key that the repo has.
func (i *Import) Completes() (bool, error) {
	if i.File != "" && (i.Public != "" || i.KMS != "") {
		return false, fault.Hint(errors.New("a private half comes with its public half"),
			"leave --public and --kms out, or FILE")
	}
	if i.File == "" && i.Public == "" && i.KMS == "" && i.Certificate == "" {
		return false, fault.Hint(errors.New("nothing to import"),
			"give the file of the private half, or set --public, --certificate or --kms")
	}
	there, err := exists(i.addition("").publicPath())
	return err == nil && there && i.File != "" && len(i.Uses) == 0, err
}

// Import adds a key to the repo.
func (a *Access) Import(ctx context.Context, i Import) (*Added, error) {
	k := i.addition(a.Dir)
	if err := k.check(); err != nil {
		return nil, err
	}
	priv, pub, err := i.halves(ctx, services(a.Plugins), k)
	if err != nil {
		return nil, err
	}
	if err := k.setPublic(pub); err != nil {
		return nil, fmt.Errorf("%s: %w", i.source(), err)
	}
	if priv == nil {
		err = k.writePublic()
	} else {
		var pass []byte
		if pass, err = a.Passphrase.Passphrase(ctx)(k.Name, true); err == nil {
			err = k.save(priv, pass)
		}
	}
	if err != nil {
		return nil, err
	}
	return k.added()
}

// ImportPrivate adds the private half of a key that the repo has; see Completes.
func (a *Access) ImportPrivate(ctx context.Context, f *fleet.Fleet, i Import) (*Added, error) {
	k := i.addition(a.Dir)
	if i.Certificate != "" || !i.Expires.IsZero() {
		return nil, fault.Hint(fmt.Errorf("%s exists", k.publicPath()),
			"change the file itself: only a private half is imported to a key that is there")
	}
	key, err := Open(f, a.Dir, nil).Key(k.Name)
	if err != nil {
		return nil, err
	}
	k.Public = key.Public
	err = absent(k.privatePath(), "this machine has the key already; bakehouse key passphrase changes its passphrase")
	if err != nil {
		return nil, err
	}
	priv, err := i.private(ctx)
	if err != nil {
		return nil, err
	}
	signers, err := LoadSigners(priv)
	if err != nil {
		return nil, err
	}
	if err := samePublic(signers.Metadata, key); err != nil {
		return nil, fault.Hint(fmt.Errorf("%s does not belong to %s", i.File, k.publicPath()),
			"import it under another name")
	}
	pass, err := a.Passphrase.Passphrase(ctx)(k.Name, true)
	if err != nil {
		return nil, err
	}
	if err := k.writePrivate(priv, pass); err != nil {
		return nil, err
	}
	return k.added()
}

// source is where the key comes from, for errors.
func (i *Import) source() string {
	for _, s := range []string{i.File, i.Public, i.KMS} {
		if s != "" {
			return s
		}
	}
	return i.Certificate
}

// halves reads the key from where it is, and sets k's certificate. priv is nil if it stays elsewhere.
func (i *Import) halves(
	ctx context.Context, s services, k *addition,
) (priv crypto.PrivateKey, pub crypto.PublicKey, err error) {
	switch {
	case i.File != "":
		if priv, err = i.private(ctx); err == nil {
			s, ok := priv.(crypto.Signer)
			if !ok {
				return nil, nil, fmt.Errorf("%s: a %T signs nothing", i.File, priv)
			}
			pub = s.Public()
		}
	case i.KMS != "":
		var service keyService
		if service, err = s.open(ctx, i.KMS); err == nil {
			ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
			defer cancel()
			pub, err = service.PublicKey(options.WithContext(ctx))
		}
	case i.Public != "":
		pub, err = readPublic(i.Public)
	}
	if err != nil || i.Certificate == "" {
		return priv, pub, err
	}
	b, err := os.ReadFile(i.Certificate)
	if err != nil {
		return nil, nil, err
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(b)
	if err != nil || len(certs) == 0 {
		return nil, nil, fmt.Errorf("%s: not an X.509 certificate in PEM: %w", i.Certificate, errors.Join(err))
	}
	if pub != nil && cryptoutils.EqualKeys(pub, certs[0].PublicKey) != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s is not the certificate of %s", i.Certificate, i.source()),
			"give the certificate of this very key")
	}
	k.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certs[0].Raw}))
	return priv, certs[0].PublicKey, nil
}

func readPublic(file string) (crypto.PublicKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if block := privateBlock(b); block != nil {
		return nil, fault.Hint(fmt.Errorf("%s holds a private key", file),
			"to import it, give it as FILE, without --public")
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: not a public key in PEM: %w", file, err)
	}
	return pub, nil
}

// private reads the private half from File.
func (i *Import) private(ctx context.Context) (crypto.PrivateKey, error) {
	from := i.Stdin
	if i.File != "-" {
		f, err := os.Open(i.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, maxKeyFile))
	if err != nil {
		return nil, err
	}
	block := privateBlock(b)
	if block == nil {
		return nil, fault.Hint(fmt.Errorf("%s holds no private key in PEM", i.File),
			"for a key that is held elsewhere, set --public")
	}
	asked := false
	priv, err := parsePrivate(block, func() ([]byte, error) {
		asked = true
		return i.Passphrase.Get(ctx, "the passphrase of "+i.File,
			"give --from-passphrase-file or --from-passphrase-fd, or run on a terminal", false)
	})
	switch {
	case err != nil && asked && (fault.HintOf(err) != "" || errors.Is(err, os.ErrNotExist)):
		return nil, err // no passphrase
	case err != nil && asked:
		return nil, fault.Hint(fmt.Errorf("%s: wrong passphrase, or the file is damaged", i.File),
			"give its passphrase with --from-passphrase-file, or at the prompt")
	case err != nil:
		return nil, fmt.Errorf("%s: %w", i.File, err)
	}
	return priv, nil
}

// parsePrivate reads a private key in any of the forms that are known, ours and cosign's included.
func parsePrivate(block *pem.Block, find func() ([]byte, error)) (crypto.PrivateKey, error) {
	if !slices.Contains(sealedTypes, block.Type) {
		return cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block),
			func(bool) ([]byte, error) { return find() })
	}
	pass, err := find()
	if err != nil {
		return nil, err
	}
	return unseal(block, pass)
}

// privateBlock is the first private key in PEM text: openssl writes an EC PARAMETERS block before some.
func privateBlock(b []byte) *pem.Block {
	for rest := bytes.TrimSpace(b); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return block
		}
	}
}
