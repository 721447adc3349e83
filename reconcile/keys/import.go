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
	"strings"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature/options"
	"github.com/spf13/cobra"

	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// keyImport is a key that was made elsewhere.
type keyImport struct {
	access              Access
	from                prompted
	repo                string
	file                string // private half, PEM; "-" is standard input
	public, certificate string // files
	kms                 string
	uses                []string
	expires             string
}

func keyImportCommand() *cobra.Command {
	var i keyImport
	c := &cobra.Command{
		Use:   "import NAME [FILE]",
		Short: "Bring a key that was made elsewhere",
		Long: `Bring a key that was made elsewhere: add its public half to the repo, and encrypt its private half into the key folder.

FILE is the private half as PEM, - for standard input: cosign's or sigstore's form, PKCS #8, PKCS #1 or SEC 1 (EC), encrypted or
not. It is encrypted anew with a passphrase of this key; the file itself stays as it is. The passphrase of an encrypted
FILE comes from --from-passphrase-file, --from-passphrase-fd or a prompt.

Without FILE only the public half is added, of a key whose private half is held elsewhere (--public) or in a key service
(--kms). --certificate brings it in an X.509 certificate, whose end is the key's.

If keys/NAME.cue is there already, FILE is put into this machine's key folder, if it belongs to that key: so keys move to
another server.`,
		Example: `  bakehouse key import release cosign.key --use package
  bakehouse key import audit --public audit.pem --use package
  bakehouse key import ca-signed key.pem --certificate cert.pem --use package
  bakehouse key import cloud --kms awskms:///alias/release --use targets,snapshot,timestamp
  bakehouse key export release -o release.key && scp release.key other: && ssh other bakehouse key import release release.key`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				i.file = args[1]
			}
			k, err := i.run(cmd.Context(), args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			return k.tell(cmd)
		},
	}
	f := c.Flags()
	repoFlag(c, &i.repo)
	i.access.Flags(c)
	i.from.flags(f, "from-passphrase", "the passphrase of FILE")
	f.StringVar(&i.public, "public", "", "file of the public half (PEM) of a key that is held elsewhere")
	f.StringVar(&i.certificate, "certificate", "", "file of the key's X.509 certificate (PEM)")
	f.StringVar(&i.kms, "kms", "", "URI of the key in a key service, which is asked for the public half")
	newKeyFlags(c, &i.uses, &i.expires)
	c.MarkFlagsMutuallyExclusive("public", "kms")
	return c
}

func (i *keyImport) run(ctx context.Context, name string, stdin io.Reader) (*newKey, error) {
	k := &newKey{Key: fleet.Key{Name: name, Uses: i.uses, Private: i.kms}, repo: i.repo, dir: i.access.dir}
	if i.file != "" && (i.public != "" || i.kms != "") {
		return nil, fault.Hint(errors.New("a private half comes with its public half"), "leave --public and --kms out, or FILE")
	}
	if i.file == "" && i.public == "" && i.kms == "" && i.certificate == "" {
		return nil, fault.Hint(errors.New("nothing to import"), "name the file of the private half, or give --public, --certificate or --kms")
	}
	if there, err := exists(k.publicPath()); err != nil || there && i.file != "" && len(i.uses) == 0 {
		if err != nil {
			return nil, err
		}
		return k, i.bring(ctx, k, stdin)
	}
	var err error
	if k.Expires, err = parseExpiry(i.expires); err != nil {
		return nil, err
	}
	if err := k.check(); err != nil {
		return nil, err
	}
	priv, pub, err := i.halves(ctx, k, stdin)
	if err != nil {
		return nil, err
	}
	if err := k.take(pub); err != nil {
		return nil, fmt.Errorf("%s: %w", i.source(), err)
	}
	if priv == nil {
		return k, k.writePublic()
	}
	pass, err := passphrases(ctx, &i.access.pass)(name, true)
	if err != nil {
		return nil, err
	}
	return k, k.save(priv, pass)
}

// source is where the key comes from, for errors.
func (i *keyImport) source() string {
	for _, s := range []string{i.file, i.public, i.kms} {
		if s != "" {
			return s
		}
	}
	return i.certificate
}

// bring adds the private half of a key that the repo has.
func (i *keyImport) bring(ctx context.Context, k *newKey, stdin io.Reader) error {
	if i.certificate != "" || i.expires != "" {
		return fault.Hint(fmt.Errorf("%s exists", k.publicPath()), "change the file itself: only a private half is brought to a key that is there")
	}
	f, err := loadFleet(ctx, i.repo)
	if err != nil {
		return err
	}
	key, err := Open(f, i.access.dir, nil).Key(k.Name)
	if err != nil {
		return err
	}
	if err := absent(k.privatePath(), "this machine has the key already; bakehouse key passphrase changes its passphrase"); err != nil {
		return err
	}
	priv, err := i.private(stdin)
	if err != nil {
		return err
	}
	signer, err := LoadSigner(priv)
	if err != nil {
		return err
	}
	if err := samePublic(signer, key); err != nil {
		return fault.Hint(fmt.Errorf("%s does not belong to %s", i.file, k.publicPath()), "import it under another name")
	}
	if k.id, err = ID(key); err != nil {
		return err
	}
	pass, err := passphrases(ctx, &i.access.pass)(k.Name, true)
	if err != nil {
		return err
	}
	return k.writePrivate(priv, pass)
}

// halves reads the key from where it is. priv is nil if it stays elsewhere.
func (i *keyImport) halves(ctx context.Context, k *newKey, stdin io.Reader) (priv crypto.PrivateKey, pub crypto.PublicKey, err error) {
	switch {
	case i.file != "":
		if priv, err = i.private(stdin); err == nil {
			s, ok := priv.(crypto.Signer)
			if !ok {
				return nil, nil, fmt.Errorf("%s: a %T signs nothing", i.file, priv)
			}
			pub = s.Public()
		}
	case i.kms != "":
		var service keyService
		if service, err = i.access.service(ctx, i.repo, i.kms); err == nil {
			ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
			defer cancel()
			pub, err = service.PublicKey(options.WithContext(ctx))
		}
	case i.public != "":
		pub, err = readPublic(i.public)
	}
	if err != nil || i.certificate == "" {
		return priv, pub, err
	}
	b, err := os.ReadFile(i.certificate)
	if err != nil {
		return nil, nil, err
	}
	certs, err := cryptoutils.UnmarshalCertificatesFromPEM(b)
	if err != nil || len(certs) == 0 {
		return nil, nil, fmt.Errorf("%s: not an X.509 certificate in PEM: %w", i.certificate, errors.Join(err))
	}
	if pub != nil && cryptoutils.EqualKeys(pub, certs[0].PublicKey) != nil {
		return nil, nil, fault.Hint(fmt.Errorf("%s is not the certificate of %s", i.certificate, i.source()), "give the certificate of this very key")
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
		return nil, fault.Hint(fmt.Errorf("%s holds a private key", file), "to bring it, name it as FILE, without --public")
	}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("%s: not a public key in PEM: %w", file, err)
	}
	return pub, nil
}

// private reads the private half from FILE.
func (i *keyImport) private(stdin io.Reader) (crypto.PrivateKey, error) {
	if i.file != "-" {
		f, err := os.Open(i.file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxKeyFile))
	if err != nil {
		return nil, err
	}
	block := privateBlock(b)
	if block == nil {
		return nil, fault.Hint(fmt.Errorf("%s holds no private key in PEM", i.file), "for a key that is held elsewhere, give --public FILE")
	}
	asked := false
	priv, err := cryptoutils.UnmarshalPEMToPrivateKey(pem.EncodeToMemory(block), func(bool) ([]byte, error) {
		asked = true
		return i.from.get("the passphrase of "+i.file, "give --from-passphrase-file or --from-passphrase-fd, or run on a terminal", false)
	})
	switch {
	case err != nil && asked && (fault.HintOf(err) != "" || errors.Is(err, os.ErrNotExist)):
		return nil, err // no passphrase
	case err != nil && asked:
		return nil, fault.Hint(fmt.Errorf("%s: wrong passphrase, or the file is damaged", i.file), "give its passphrase with --from-passphrase-file, or at the prompt")
	case err != nil:
		return nil, fmt.Errorf("%s: %w", i.file, err)
	}
	return priv, nil
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
