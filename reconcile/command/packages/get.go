// Package packages has the verbs that give, sign and check packages: `bakehouse package` and `reproduce`.
package packages

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/bake/seal"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/cli"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"

	"github.com/spf13/cobra"
)

// Command is `bakehouse package`; version is this program's.
func Command(version string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "package",
		Annotations: map[string]string{
			cli.Instead + "verify": "bakehouse package verify", cli.Instead + "all": "bakehouse package verify --all",
		},
		Short: "Fetch, list, sign and verify published packages",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return fault.Hint(fmt.Errorf("unknown command %.80q for `%s`", args[0], cmd.CommandPath()),
				"to fetch a host's package: `bakehouse package get %s`", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(getCommand(), listCommand(), signCommand(version),
		verifyCommand(version))
	return cmd
}

func getCommand() *cobra.Command {
	var get packageGet
	var pgp string
	var asJSON *bool
	var pass *keys.PassphraseSource
	cmd := &cobra.Command{
		Use:   "get HOST",
		Short: "Fetch a host's published package, to install it manually the first time",
		Long: strings.TrimSpace(`
Verifies the published release from the repository's trust/1.root.json, assembles the host's package and writes it to
a file. Prints the file's name, size and digest.

With --openpgp-key the file is a copy that carries a signature by that OpenPGP secret key as rpm and repositories' tools
look for it: an rpm over its header, a deb in the member _gpgorigin, as debsigs has it. A detached signature over the
copy goes to FILE.asc. To hosts it is the same package: they update from it as from the published one. The key's
passphrase comes from BAKEHOUSE_PASSPHRASE_OPENPGP, --passphrase-file, --passphrase-fd or a prompt.

With --authenticode-key and --authenticode-certificate the file is a copy of an msi with an Authenticode signature, by
which Windows names its maker. osslsigncode makes it, with an RSA key. Hosts update to the published package, which has
none.

With --statements the signed statement of each key goes to DIR/KEY.sigstore.json, a Sigstore bundle: a DSSE envelope
around an in-toto Statement on the package, with the predicate type urn:bakehouse:package:v1. With it, cosign verifies
the package without bakehouse, as the last example shows.`),
		Example: `  bakehouse package get web01 -o web01.deb
  bakehouse package get web01 -o web01.rpm --openpgp-key release.asc
  bakehouse package get web01 -o web01.deb --statements signed &&
    bakehouse key export release --public > release.pem &&
    cosign verify-blob-attestation --key release.pem --bundle signed/release.sigstore.json \
      --type urn:bakehouse:package:v1 --insecure-ignore-tlog web01.deb`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case pgp != "" && get.out == "-":
				return fault.Hint(errors.New("a signed copy is written to a file, with its signature beside it"),
					"set a file with -o")
			case get.authenticode != authenticode{} && (pgp != "" || get.statements != "" || get.out == "-"):
				return fault.Hint(errors.New("a copy with an Authenticode signature is a file of its own"),
					"set a file with -o, and leave out --openpgp-key and --statements")
			case pgp != "" && get.statements != "":
				return fault.Hint(errors.New("statements are on the published package, not on a signed copy of it"),
					"leave out --openpgp-key or --statements")
			case get.out == "-" && *asJSON:
				return fault.Hint(errors.New("--json and -o - both write to standard output"), "leave one of them out")
			}
			if _, err := get.authenticode.check(); err != nil {
				return err
			}
			if pgp != "" {
				var err error
				if get.key, err = readOpenPGPKey(pgp, pass.Passphrase(cmd.Context())); err != nil {
					return err
				}
			}
			got, err := get.run(cmd.Context(), cmd.OutOrStdout(), args[0])
			switch {
			case err != nil || get.out == "-":
				return err
			case *asJSON:
				return console.WriteJSON(cmd.OutOrStdout(), got)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), got)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVarP(&get.out, "output", "o", "", "file to write, - for standard output (default HOST.FORMAT)")
	f.StringVar(&get.statements, "statements", "",
		"directory to write each key's signed statement to as well, for cosign")
	f.StringVar(&pgp, "openpgp-key", "",
		"file with an OpenPGP secret key: write a signed copy, and its detached signature to FILE.asc")
	settings.Trust(f, "openpgp-key")
	f.StringVar(&get.authenticode.key, "authenticode-key", "",
		"file with an RSA private key (PEM): write a copy of an msi that Windows knows the maker of")
	f.StringVar(&get.authenticode.certificate, "authenticode-certificate", "",
		"file with that key's certificate and those above it (PEM)")
	settings.Trust(f, "authenticode-key")
	settings.Trust(f, "authenticode-certificate")
	pass = flags.AddPassphrase(cmd, "passphrase", "the passphrase of that key")
	flags.Repo(cmd, &get.where)
	flags.Store(cmd, &get.location)
	asJSON = flags.AddJSON(cmd)
	return cmd
}

// fetched is a package in a file.
type fetched struct {
	File       string        `json:"file"`
	Size       int64         `json:"size"`
	SHA256     schema.Digest `json:"sha256"`
	Package    schema.Digest `json:"package"`              // the published one, of which the file may be a signed copy
	Statements []string      `json:"statements,omitempty"` // files
}

func (f *fetched) String() string {
	text := fmt.Sprintf("%s\t%d bytes\t%s", f.File, f.Size, f.SHA256)
	if f.SHA256 != f.Package {
		text += fmt.Sprintf("\tsigned copy of %s", f.Package)
		if _, err := os.Stat(f.File + ".asc"); err == nil {
			text += fmt.Sprintf(", see also %s.asc", f.File)
		}
	}
	for _, file := range f.Statements {
		text += "\n" + file
	}
	return text
}

type packageGet struct {
	where           desired.Where
	location        string
	out, statements string // file and directory, empty for the default and for none
	key             *openPGPKey
	authenticode    authenticode
}

func (g *packageGet) run(ctx context.Context, stdout io.Writer, host string) (*fetched, error) {
	if err := schema.CheckHostName(host); err != nil {
		return nil, err
	}
	anchor, err := desired.Anchor(g.where)
	if err != nil {
		return nil, err
	}
	st, err := stores.OpenExisting(ctx, g.location)
	if err != nil {
		return nil, err
	}
	client, src, err := publish.Open(ctx, st, anchor)
	if err != nil {
		return nil, err
	}
	a, err := publish.AssignmentOf(ctx, client, src, host)
	if err != nil {
		return nil, err
	}
	m, err := publish.ReadManifest(ctx, st, a.Manifest)
	if err != nil {
		return nil, err
	}
	if m.SHA256 != a.SHA256 || m.Size != a.Length {
		return nil, fault.Refuse(
			fmt.Errorf("the manifest of host %s describes another package than the signed one", host),
			"restore the store from a backup, or find out who wrote to it")
	}
	open := publish.Segments(ctx, st)
	got := &fetched{File: cmp.Or(g.out, host+"."+string(m.Format)), Size: m.Size, SHA256: m.SHA256, Package: m.SHA256}
	if g.statements != "" {
		if got.Statements, err = g.writeStatements(ctx, st, schema.StatementFor(m, a.Manifest)); err != nil {
			return nil, err
		}
	}
	switch {
	case g.out == "-":
		err = m.Assemble(stdout, open)
	case g.authenticode != authenticode{}:
		return g.authenticode.signedTo(ctx, got.File, m, open)
	case g.key != nil:
		return sealedTo(got.File, m, open, g.key)
	default:
		err = assembleTo(got.File, func(w io.Writer) error { return m.Assemble(w, open) })
	}
	if err != nil {
		return nil, err
	}
	return got, nil
}

// writeStatements writes the statements by keys of the repository, and returns the files.
func (g *packageGet) writeStatements(ctx context.Context, st store.Store, s schema.Statement) ([]string, error) {
	f, err := desired.Top(ctx, g.where)
	if err != nil {
		return nil, err
	}
	signed, err := accept.On(ctx, st, s, f)
	if err != nil {
		return nil, err
	}
	bundles, err := signed.Bundles()
	if err != nil {
		return nil, err
	}
	if len(bundles) == 0 {
		return nil, fault.Hint(fmt.Errorf("package %s is signed by no key of the repository", s.Package.Short()),
			"sign it: bakehouse package sign --key NAME")
	}
	if err := os.MkdirAll(g.statements, 0o755); err != nil {
		return nil, err
	}
	var files []string
	for _, b := range bundles {
		file := filepath.Join(g.statements, b.Key+".sigstore.json")
		if err := durable.WriteFile(file, b.JSON, 0o644); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// sealedTo writes a signed copy of the package and a detached signature over it.
func sealedTo(
	file string, m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error), key *openPGPKey,
) (*fetched, error) {
	whole, err := os.CreateTemp("", "bakehouse-package-*")
	if err != nil {
		return nil, err
	}
	defer func() { _, _ = whole.Close(), os.Remove(whole.Name()) }()
	if err := m.Assemble(whole, open); err != nil {
		return nil, err
	}
	sum := sha256.New()
	err = assembleTo(file, func(w io.Writer) error {
		return seal.Write(io.MultiWriter(w, sum), whole, m.Size, m.Format, key)
	})
	if err != nil {
		return nil, err
	}
	sealed, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer sealed.Close()
	fi, err := sealed.Stat()
	if err != nil {
		return nil, err
	}
	if err := assembleTo(file+".asc", func(w io.Writer) error { return key.armored(w, sealed) }); err != nil {
		return nil, err
	}
	return &fetched{File: file, Size: fi.Size(), SHA256: schema.Digest(sum.Sum(nil)), Package: m.SHA256}, nil
}
