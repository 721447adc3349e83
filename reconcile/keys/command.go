package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/spf13/cobra"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Command is `bakehouse key`, with subcommands that need more than keys.
func Command(more ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, bring, list and retire the keys that sign",
		Long: `Make, bring, list and retire the keys that sign.

A key's public half and its uses stand in keys/NAME.cue in the fleet repo, so that giving a key a use is a reviewed
change. Its private half is kept outside, encrypted with a passphrase that is stored nowhere, or never leaves a KMS or HSM.

Passphrases come from the variable BAKEHOUSE_PASSPHRASE_<NAME> (upper case, '-' and '.' as '_'), from the first line of
--passphrase-file or of the descriptor --passphrase-fd, or from a prompt. They are never an argument, and no child of this
program inherits the variables.

Key services: awskms://, gcpkms://, azurekms://, hashivault:// and openbao:// in ` + build() + `;
anything else, such as an HSM, by a sigstore-kms plugin (--kms-plugin NAME=/absolute/path for keys at NAME://…).`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(keyCreateCommand(), keyImportCommand(), keyExportCommand(), keyPassphraseCommand(), keyListCommand(), keyShowCommand())
	c.AddCommand(more...)
	return c
}

func build() string {
	if fullBuild {
		return "this full build"
	}
	return "a full build (go build -tags kms), which this is not"
}

func repoFlag(c *cobra.Command, repo *string) {
	c.Flags().StringVar(repo, "repo", ".", "work tree of the fleet repo")
}

// keyTypes make key pairs.
var keyTypes = map[string]func() (crypto.Signer, error){
	"ed25519": func() (crypto.Signer, error) {
		_, priv, err := ed25519.GenerateKey(rand.Reader)
		return priv, err
	},
	"ecdsa-p256": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"rsa-3072":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 3072) },
	"rsa-4096":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 4096) },
}

func keyCreateCommand() *cobra.Command {
	var access Access
	var repo, kind, kms, expires string
	var use []string
	c := &cobra.Command{
		Use:   "create NAME --use USE[,USE…]",
		Short: "Make a key pair",
		Long: `Make a key pair: the public half as keys/NAME.cue in the repo, the private half encrypted in the key folder. With --kms the
pair is made in a key service, and its private half never leaves that.

Uses: root, targets, snapshot, timestamp (the roles of TUF), package (signatures on packages).`,
		Example: `  bakehouse key create offline --use root
  bakehouse key create ci --use targets,snapshot,timestamp,package
  bakehouse key create release --use package --type rsa-3072 --expires 2028-01-01
  bakehouse key create release --use package --kms hsm://release --kms-plugin hsm=/usr/local/bin/sigstore-kms-hsm`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := parseExpiry(expires)
			if err != nil {
				return err
			}
			k := &newKey{Key: fleet.Key{Name: args[0], Uses: use, Expires: until, Private: kms}, repo: repo, dir: access.dir}
			if err := k.check(); err != nil {
				return err
			}
			if kms != "" {
				if !cmd.Flag("type").Changed {
					kind = ""
				}
				err = k.createRemote(cmd.Context(), &access, kind)
			} else {
				err = k.create(passphrases(cmd.Context(), &access.pass), kind)
			}
			if err != nil {
				return err
			}
			return k.tell(cmd)
		},
	}
	repoFlag(c, &repo)
	access.Flags(c)
	c.Flags().StringVar(&kind, "type", "ed25519", "type of the key: "+strings.Join(slices.Sorted(maps.Keys(keyTypes)), ", ")+"; with --kms whatever the key service calls it (default its own)")
	c.Flags().StringVar(&kms, "kms", "", "URI of the key in the key service that is to make it")
	newKeyFlags(c, &use, &expires)
	return c
}

func newKeyFlags(c *cobra.Command, use *[]string, expires *string) {
	c.Flags().StringSliceVar(use, "use", nil, "what the key is for: "+strings.Join(uses, ", "))
	c.Flags().StringVar(expires, "expires", "", "day from which the key no longer signs, such as 2028-01-01")
}

func parseExpiry(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("--expires %.40q is not a day such as 2028-01-01", s)
}

// newKey is a key that is to be added to the repo.
type newKey struct {
	fleet.Key
	repo, dir string
	id        string // once it is known
}

func (k *newKey) publicPath() string  { return filepath.Join(k.repo, "keys", k.Name+".cue") }
func (k *newKey) privatePath() string { return filepath.Join(k.dir, FileName(k.Name)) }

func (k *newKey) check() error {
	if err := schema.CheckName(k.Name); err != nil {
		return err
	}
	if v := passphraseVariable(k.Name); slices.Contains(reservedVariables, v) {
		return fault.Hint(fmt.Errorf("no key can be called %s: %s is a setting", k.Name, v), "choose another name")
	}
	if len(k.Uses) == 0 {
		return fault.Hint(fmt.Errorf("key %s would have no use", k.Name), "give --use with one or more of %s", strings.Join(uses, ", "))
	}
	for i, u := range k.Uses {
		if !slices.Contains(uses, u) {
			return fault.Hint(fmt.Errorf("%.40q is no use of a key", u), "choose from %s", strings.Join(uses, ", "))
		}
		if slices.Contains(k.Uses[:i], u) {
			return fmt.Errorf("the use %s is named twice", u)
		}
	}
	if err := CheckRepo(k.repo); err != nil {
		return err
	}
	if err := absent(k.publicPath(), "choose another name: a key is never overwritten"); err != nil {
		return err
	}
	return absent(k.privatePath(), "choose another name: a key is never overwritten")
}

func absent(path, hint string) error {
	there, err := exists(path)
	if err == nil && there {
		err = fault.Hint(fmt.Errorf("%s exists", path), "%s", hint)
	}
	return err
}

// create makes the pair here.
func (k *newKey) create(pass Passphrase, kind string) error {
	generate := keyTypes[kind]
	if generate == nil {
		return fault.Hint(fmt.Errorf("there is no type of keys %.40q", kind), "choose from %s", strings.Join(slices.Sorted(maps.Keys(keyTypes)), ", "))
	}
	secret, err := pass(k.Name, true)
	if err != nil {
		return err
	}
	priv, err := generate()
	if err != nil {
		return err
	}
	if err := k.take(priv.Public()); err != nil {
		return err
	}
	return k.save(priv, secret)
}

// createRemote has a key service make the pair.
func (k *newKey) createRemote(ctx context.Context, access *Access, algorithm string) error {
	service, err := access.service(ctx, k.repo, k.Private)
	if err != nil {
		return err
	}
	if d, ok := service.(interface{ DefaultAlgorithm() string }); ok && algorithm == "" {
		algorithm = d.DefaultAlgorithm()
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	pub, err := service.CreateKey(ctx, algorithm)
	if err != nil {
		return err
	}
	if err := k.take(pub); err != nil {
		return err
	}
	return k.writePublic()
}

// take sets the public half.
func (k *newKey) take(pub crypto.PublicKey) error {
	if err := fleet.CheckKeyType(pub); err != nil {
		return err
	}
	public, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return err
	}
	k.Public = string(public)
	k.id, err = ID(&k.Key)
	return err
}

// save writes the private half first: a public half in the repo whose private half was lost would be worse than the
// other way round.
func (k *newKey) save(priv crypto.PrivateKey, pass []byte) error {
	if err := k.writePrivate(priv, pass); err != nil {
		return err
	}
	if err := k.writePublic(); err != nil {
		if rerr := durable.Remove(k.privatePath()); rerr != nil {
			return fmt.Errorf("%w; and %s is left over: %w", err, k.privatePath(), rerr)
		}
		return err
	}
	return nil
}

func (k *newKey) writePrivate(priv crypto.PrivateKey, pass []byte) error {
	private, err := encrypt(priv, pass)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("key folder: %w", err)
	}
	if err := durable.Create(k.privatePath(), bytes.NewReader(private), 0o600); err != nil {
		return fmt.Errorf("private half: %w", err)
	}
	return nil
}

func (k *newKey) writePublic() error {
	err := durable.MkdirAll(filepath.Dir(k.publicPath()), 0o755)
	if err == nil {
		err = durable.Create(k.publicPath(), bytes.NewReader(fleet.KeyFile(k.Key)), 0o644)
	}
	if err != nil {
		return fmt.Errorf("public half: %w", err)
	}
	return nil
}

// tell says where the halves are.
func (k *newKey) tell(cmd *cobra.Command) error {
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "public half: %s (commit it)\n", k.publicPath())
	switch there, err := exists(k.privatePath()); {
	case k.Private != "":
		fmt.Fprintf(w, "private half: %s\n", k.Private)
	case err == nil && there:
		fmt.Fprintf(w, "private half: %s (keep it)\n", k.privatePath())
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), k.id)
	return err
}
