// Package key has the verbs of `bakehouse key`.
package key

import (
	"github.com/spf13/cobra"

	"bakehouse/reconcile/keys"
)

// Command is `bakehouse key`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, import, list and retire the keys that sign",
		Long: `Make, import, list and retire the keys that sign.

A key's public half and its uses are in keys/NAME.cue in the fleet repo, so that giving a key a use is a reviewed
change. Its private half is kept outside, encrypted with a passphrase that is stored nowhere, or never leaves a KMS or
HSM.

Passphrases come from the variable BAKEHOUSE_PASSPHRASE_<NAME> (upper case, '-' and '.' as '_'), from the first line of
--passphrase-file or of the descriptor --passphrase-fd, or from a prompt. They are never an argument, and no child of
this program inherits the variables.

Key services: awskms://, gcpkms://, azurekms://, hashivault:// and openbao://
in ` + build() + `.
Anything else, such as an HSM: by a sigstore-kms plugin (--kms-plugin NAME=/absolute/path for keys at NAME://…).`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(createCommand(), importCommand(), exportCommand(), passphraseCommand(), listCommand(),
		showCommand(), retireCommand())
	return c
}

func build() string {
	if keys.FullBuild {
		return "this full build"
	}
	return "a full build (go build -tags kms), which this is not"
}
