package key

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/source"
	"bakehouse/schema/fault"
)

func createCommand() *cobra.Command {
	var n newKeyFlags
	c := &cobra.Command{
		Use:   "create NAME --use USE[,USE…]",
		Short: "Make a key pair",
		Long: `Make a key pair: the public half as keys/NAME.cue in the repo, the private half encrypted in the key
directory. With --kms the pair is made in a key service, and its private half never leaves that.

Uses: root, targets, snapshot, timestamp (the roles of TUF), package (signatures on packages).`,
		Example: `  bakehouse key create offline --use root
  bakehouse key create ci --use targets,snapshot,timestamp,package
  bakehouse key create release --use package --type rsa-3072 --expires 2028-01-01
  bakehouse key create release --use package --kms hsm://release --kms-plugin hsm=/usr/local/bin/sigstore-kms-hsm`,
		Args: cobra.ExactArgs(1),
	}
	n.add(c)
	with := flags.AddKeys(c)
	asJSON := flags.AddJSON(c)
	c.Flags().StringVar(&n.Type, "type", keys.DefaultType, "type of the key: "+strings.Join(keys.Types(), ", ")+
		"; with --kms whatever the key service calls it (default its own)")
	c.Flags().StringVar(&n.KMS, "kms", "", "URI of the key in the key service that is to make it")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := n.parse(args[0]); err != nil {
			return err
		}
		if lost := source.LostHere(n.Repo, "keys/"+n.Name+".cue"); lost != nil {
			return fault.Hint(fmt.Errorf("there was a key %s: %v", n.Name, lost),
				"hosts may accept that one only: restore it (%s), or give the new one another name", lost.Restore())
		}
		if n.KMS != "" && !cmd.Flag("type").Changed {
			n.Type = ""
		}
		access, err := with.Access(n.Repo)
		if err != nil {
			return err
		}
		added, err := access.Create(cmd.Context(), n.New)
		if err != nil {
			return err
		}
		return printAdded(cmd, added, *asJSON)
	}
	return c
}
