package key

import (
	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/keys"
)

func importCommand() *cobra.Command {
	var n newKeyFlags
	var i keys.Import
	c := &cobra.Command{
		Use:   "import NAME [FILE]",
		Short: "Import a key that was made elsewhere",
		Long: `Import a key that was made elsewhere: add its public half to the repo, and encrypt its private half into the
key directory.

FILE is the private half as PEM, - for standard input: cosign's or sigstore's form, PKCS #8, PKCS #1 or SEC 1 (EC),
encrypted or not. It is encrypted again with a passphrase of this key; the file itself stays as it is. The
passphrase of an encrypted FILE comes from --from-passphrase-file, --from-passphrase-fd or a prompt.

Without FILE only the public half is added, of a key whose private half is held elsewhere (--public) or in a key
service (--kms). --certificate imports it from an X.509 certificate, whose end is the key's.

If keys/NAME.cue is there already, FILE is put into this machine's key directory, if it belongs to that key: so keys
move to another server.`,
		Example: `  bakehouse key import release cosign.key --use package
  bakehouse key import audit --public audit.pem --use package
  bakehouse key import ca-signed key.pem --certificate cert.pem --use package
  bakehouse key import cloud --kms awskms:///alias/release --use targets,snapshot,timestamp
  bakehouse key export release -o release.key && scp release.key other: &&
    ssh other bakehouse key import release release.key`,
		Args: cobra.RangeArgs(1, 2),
	}
	n.add(c)
	with := flags.AddKeys(c)
	asJSON := flags.AddJSON(c)
	i.Passphrase = flags.AddPassphrase(c, "from-passphrase", "the passphrase of FILE")
	c.Flags().StringVar(&i.Public, "public", "", "file of the public half (PEM) of a key that is held elsewhere")
	c.Flags().StringVar(&i.Certificate, "certificate", "", "file of the key's X.509 certificate (PEM)")
	c.Flags().StringVar(&n.KMS, "kms", "", "URI of the key in a key service, which is asked for the public half")
	c.MarkFlagsMutuallyExclusive("public", "kms")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := n.parse(args[0]); err != nil {
			return err
		}
		i.New, i.Stdin = n.New, cmd.InOrStdin()
		if len(args) == 2 {
			i.File = args[1]
		}
		completes, err := i.Completes()
		if err != nil {
			return err
		}
		access, err := with.Access(n.Repo)
		if err != nil {
			return err
		}
		var added *keys.Added
		if completes {
			f, ferr := flags.LoadFleet(cmd.Context(), n.Repo)
			if ferr != nil {
				return ferr
			}
			added, err = access.ImportPrivate(cmd.Context(), f, i)
		} else {
			added, err = access.Import(cmd.Context(), i)
		}
		if err != nil {
			return err
		}
		return printAdded(cmd, added, *asJSON)
	}
	return c
}
