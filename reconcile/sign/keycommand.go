package sign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/spf13/cobra"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fleet"
)

// KeyCommand is `bakehouse key`.
func KeyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, list and show the keys that sign",
		Long: `Make, list and show the keys that sign.

A key's public half and its uses stand in keys/NAME.cue in the fleet repo, so that giving a key a use is a reviewed
change. Its private half is kept outside, encrypted with a passphrase.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(keyCreateCommand(), keyListCommand(), keyShowCommand())
	return c
}

// uses are what a key may be for.
var uses = append(slices.Clone(roles), fleet.UsePackage)

func keyFlags(c *cobra.Command, repo, keyDir *string) {
	c.Flags().StringVar(repo, "repo", ".", "work tree of the fleet repo")
	c.Flags().StringVar(keyDir, "key-dir", DefaultKeyDir(), "folder of the private keys")
}

func keyCreateCommand() *cobra.Command {
	var repo, keyDir, passFile, expires string
	var use []string
	c := &cobra.Command{
		Use:   "create NAME --use USE[,USE…]",
		Short: "Make an Ed25519 key pair",
		Long: `Make an Ed25519 key pair: the public half as keys/NAME.cue in the repo, the private half encrypted in the key folder.

Uses: root, targets, snapshot, timestamp (the roles of TUF), package (signatures on packages).

The passphrase comes from the variable BAKEHOUSE_PASSPHRASE_<NAME> (upper case, '-' and '.' as '_'), from the first
line of --passphrase-file, or from a prompt.`,
		Example: "  bakehouse key create offline --use root\n  bakehouse key create ci --use targets,snapshot,timestamp,package",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			until, err := parseExpiry(expires)
			if err != nil {
				return err
			}
			k := &newKey{name: args[0], uses: use, expires: until, repo: repo, dir: keyDir, pass: Passphrases(passFile)}
			if err := k.create(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "public half: %s (commit it)\nprivate half: %s (keep it)\n", k.publicPath(), k.privatePath())
			fmt.Fprintln(cmd.OutOrStdout(), k.id)
			return nil
		},
	}
	keyFlags(c, &repo, &keyDir)
	c.Flags().StringVar(&passFile, "passphrase-file", "", "file whose first line is the passphrase")
	c.Flags().StringSliceVar(&use, "use", nil, "what the key is for: "+strings.Join(uses, ", "))
	c.Flags().StringVar(&expires, "expires", "", "day from which the key no longer signs, such as 2028-01-01")
	return c
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

// newKey is a key to be made.
type newKey struct {
	name      string
	uses      []string
	expires   time.Time
	repo, dir string
	pass      Passphrase
	id        string // once created
}

func (k *newKey) publicPath() string  { return filepath.Join(k.repo, "keys", k.name+".cue") }
func (k *newKey) privatePath() string { return filepath.Join(k.dir, k.name+keySuffix) }

func (k *newKey) check() error {
	if err := schema.CheckName(k.name); err != nil {
		return err
	}
	if len(k.uses) == 0 {
		return schema.Hint(fmt.Errorf("key %s would have no use", k.name), "give --use with one or more of %s", strings.Join(uses, ", "))
	}
	for i, u := range k.uses {
		if !slices.Contains(uses, u) {
			return schema.Hint(fmt.Errorf("%.40q is no use of a key", u), "choose from %s", strings.Join(uses, ", "))
		}
		if slices.Contains(k.uses[:i], u) {
			return fmt.Errorf("the use %s is named twice", u)
		}
	}
	if err := checkRepo(k.repo); err != nil {
		return err
	}
	for _, path := range []string{k.publicPath(), k.privatePath()} {
		there, err := exists(path)
		if err != nil {
			return err
		}
		if there {
			return schema.Hint(fmt.Errorf("%s exists", path), "choose another name: a key is never overwritten")
		}
	}
	return nil
}

// create writes the private half first: a public half in the repo whose private half was lost would be worse than the
// other way round.
func (k *newKey) create() error {
	if err := k.check(); err != nil {
		return err
	}
	pass, err := k.pass(k.name, true)
	if err != nil {
		return err
	}
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	private, err := encrypt(priv, pass)
	if err != nil {
		return err
	}
	public, err := cryptoutils.MarshalPublicKeyToPEM(pub)
	if err != nil {
		return err
	}
	if k.id, err = keyID(&fleet.Key{Name: k.name, Public: string(public)}); err != nil {
		return err
	}
	if err := durable.MkdirAll(k.dir, 0o700); err != nil {
		return fmt.Errorf("key folder: %w", err)
	}
	if err := durable.Create(k.privatePath(), bytes.NewReader(private), 0o600); err != nil {
		return fmt.Errorf("private half: %w", err)
	}
	if err := k.writePublic(public); err != nil {
		if rerr := durable.Remove(k.privatePath()); rerr != nil {
			return fmt.Errorf("public half: %w; and %s is left over: %w", err, k.privatePath(), rerr)
		}
		return fmt.Errorf("public half: %w", err)
	}
	return nil
}

func (k *newKey) writePublic(public []byte) error {
	if err := durable.MkdirAll(filepath.Dir(k.publicPath()), 0o755); err != nil {
		return err
	}
	return durable.Create(k.publicPath(), bytes.NewReader(k.cue(public)), 0o644)
}

// cue is keys/NAME.cue.
func (k *newKey) cue(public []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "package keys\n\nkeys: %q: {\n\tuses: [%s]\n", k.name, `"`+strings.Join(k.uses, `", "`)+`"`)
	if !k.expires.IsZero() {
		fmt.Fprintf(&b, "\texpires: %q\n", k.expires.Format(time.RFC3339))
	}
	b.WriteString("\tpublic: \"\"\"\n")
	for line := range strings.Lines(string(public)) {
		b.WriteString("\t\t" + line)
	}
	b.WriteString("\t\t\"\"\"\n}\n")
	return b.Bytes()
}

// encrypt is the private half as it is kept: cosign's format, scrypt and secretbox.
func encrypt(priv crypto.PrivateKey, pass []byte) ([]byte, error) {
	der, err := cryptoutils.MarshalPrivateKeyToEncryptedDER(priv, cryptoutils.StaticPasswordFunc(pass))
	if err != nil {
		return nil, err
	}
	return cryptoutils.PEMEncode(cryptoutils.EncryptedSigstorePrivateKeyPEMType, der), nil
}

// keyInfo is a line of `key list`.
type keyInfo struct {
	Name    string     `json:"name"`
	Uses    []string   `json:"uses"`
	ID      string     `json:"id"`
	Expires *time.Time `json:"expires,omitempty"`
	State   string     `json:"state"` // "usable here", or why not
}

func keyListCommand() *cobra.Command {
	var repo, keyDir string
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the fleet's keys, and which of them can sign here",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			infos, err := listKeys(f, OpenKeys(f, keyDir, nil))
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(infos)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tUSES\tID\tEXPIRES\tSTATE")
			for _, i := range infos {
				until := "never"
				if i.Expires != nil {
					until = i.Expires.Format(time.DateOnly)
				}
				fmt.Fprintf(w, "%s\t%s\t%.16s\t%s\t%s\n", i.Name, strings.Join(i.Uses, ","), i.ID, until, i.State)
			}
			return w.Flush()
		},
	}
	keyFlags(c, &repo, &keyDir)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func listKeys(f *fleet.Fleet, ring *Keyring) ([]keyInfo, error) {
	infos := []keyInfo{}
	for _, key := range sortedKeys(f) {
		id, err := keyID(key)
		if err != nil {
			return nil, err
		}
		info := keyInfo{Name: key.Name, Uses: key.Uses, ID: id, State: "usable here"}
		if !key.Expires.IsZero() {
			info.Expires = &key.Expires
		}
		if err := ring.usable(key); err != nil {
			info.State = ring.state(key)
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// state says in a few words why the key cannot sign here.
func (k *Keyring) state(key *fleet.Key) string {
	path, err := k.path(key)
	switch {
	case !key.Expires.IsZero() && !k.now().Before(key.Expires):
		return "expired"
	case err != nil:
		return "elsewhere"
	}
	if there, err := exists(path); err == nil && !there {
		return "elsewhere"
	}
	return "unreadable"
}

func loadFleet(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := checkRepo(repo); err != nil {
		return nil, err
	}
	return fleet.Load(ctx, os.DirFS(repo))
}

func checkRepo(repo string) error {
	if there, err := exists(filepath.Join(repo, "fleet.cue")); err != nil || !there {
		return schema.Hint(errors.Join(fmt.Errorf("%s holds no fleet.cue", repo), err),
			"name the fleet repo with --repo, or start one with bakehouse init")
	}
	return nil
}
