package packages

import (
	"errors"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func verifyCommand(version string) *cobra.Command {
	o := reconcile.Options{Version: version}
	var all bool
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "verify HOST | --all",
		Short: "Judge the published release, bake its packages again and compare",
		Long: strings.TrimSpace(`
Bakes what the host may be given again, older candidates included, from the commits that the releases name, and compares
it with what is published. Nothing but source files is taken from the store for that, and those by their digests. What
differs is listed field by field and file by file. --all does so for every package.

The release itself is judged, too: its commit has to be --ref or an ancestor of it, and what hosts and servers are told
has to follow from it. If anything does not, the command exits with 3. "bakehouse monitor" judges every release.`),
		Example: `  bakehouse package verify web01
  bakehouse package verify --all --jobs 4`,
		Args: func(cmd *cobra.Command, args []string) error {
			if !all && len(args) == 0 {
				return fault.Hint(errors.New("no host to verify"),
					"bakehouse package verify HOST, or --all for every published package")
			}
			if all {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			host := ""
			if !all {
				host = args[0]
				if err := schema.CheckHostName(host); err != nil {
					return err
				}
			}
			found, err := reconcile.Verify(cmd.Context(), o, host, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if *asJSON {
				err = console.WriteJSON(cmd.OutOrStdout(), found)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), found.Text())
			}
			return errors.Join(err, found.Err())
		},
	}
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &o.Store)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	cmd.Flags().BoolVar(&all, "all", false, "every published package")
	asJSON = flags.AddJSON(cmd)
	return cmd
}
