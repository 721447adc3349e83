package key

import (
	"fmt"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/keys"
)

// changed is the result of `key passphrase`.
type changed struct {
	Key  string `json:"key"`
	File string `json:"file"` // that is encrypted with the new passphrase
}

func passphraseCommand() *cobra.Command {
	var repo string
	c := &cobra.Command{
		Use:   "passphrase NAME",
		Short: "Change the passphrase of a key on this machine",
		Long: `Change the passphrase of a key on this machine. The file with the old one stays whole until the new one is
on the disk. Copies elsewhere keep the old passphrase, and nobody can recover a lost one.

The old passphrase comes from where every command takes it; the new one from --new-passphrase-file,
--new-passphrase-fd or a prompt.`,
		Example: "  bakehouse key passphrase release",
		Args:    cobra.ExactArgs(1),
	}
	flags.Worktree(c, &repo)
	with := &flags.Keys{Cmd: c}
	with.AddDir()
	old := flags.AddPassphrase(c, "passphrase", "the old passphrase")
	asJSON := flags.AddJSON(c)
	fresh := flags.AddPassphrase(c, "new-passphrase", "the new passphrase")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.LoadFleet(cmd.Context(), repo)
		if err != nil {
			return err
		}
		ring := keys.Open(f, with.Dir, old.Passphrase(cmd.Context()))
		path, err := ring.ChangePassphrase(args[0], func() ([]byte, error) {
			return fresh.Get(cmd.Context(), "the new passphrase of key "+args[0],
				"give --new-passphrase-file or --new-passphrase-fd, or run on a terminal", true)
		})
		if err != nil {
			return err
		}
		if *asJSON {
			return console.WriteJSON(cmd.OutOrStdout(), changed{args[0], path})
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s is encrypted with the new passphrase\n", path)
		return nil
	}
	return c
}
