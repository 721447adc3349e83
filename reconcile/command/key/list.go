package key

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
)

func listCommand() *cobra.Command {
	var repo string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the fleet's keys, and which of them can sign here",
		Long: `List the fleet's keys, and which of them can sign here. No passphrase is asked for, and no key service
called.

States: usable; elsewhere (its private half is not on this machine); corrupt; exposed (others can read its file);
mismatch (its file is of another key); not yet valid; expired; retired. A file of an earlier version does not show
which key it is of without its passphrase: usable (not checked). "key passphrase" writes it again. EXPIRES adds
"expiring" or "critical" as keyExpiry in fleet.cue has it (default 90 and 30 days before).`,
		Example: "  bakehouse key list\n  bakehouse key list --json",
		Args:    cobra.NoArgs,
	}
	flags.Worktree(c, &repo)
	with := &flags.Keys{Cmd: c}
	with.AddDir()
	with.AddPlugins()
	asJSON := flags.AddJSON(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		f, err := flags.LoadFleet(cmd.Context(), repo)
		if err != nil {
			return err
		}
		access, err := with.Access(repo)
		if err != nil {
			return err
		}
		infos, err := access.Open(cmd.Context(), f).List(f.KeyExpiry)
		if err != nil {
			return err
		}
		if *asJSON {
			return console.WriteJSON(cmd.OutOrStdout(), infos)
		}
		return printKeys(cmd.OutOrStdout(), infos)
	}
	return c
}

func printKeys(out io.Writer, infos []keys.Info) error {
	w := console.NewTable(out)
	fmt.Fprintln(w, "NAME\tUSES\tTYPE\tID\tEXPIRES\tSTATE")
	for _, i := range infos {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.16s\t%s\t%s\n", i.Name, strings.Join(i.Uses, ","), i.Type, i.ID, keyEnd(&i),
			i.StateText())
	}
	return w.Flush()
}

// keyEnd is when a key expires, and whether that is soon.
func keyEnd(i *keys.Info) string {
	if i.Expires == nil {
		return "never"
	}
	end := i.Expires.Format(time.DateOnly)
	if i.Expiry == schema.KeyExpiring || i.Expiry == schema.KeyCritical {
		end += " (" + i.Expiry + ")"
	}
	return end
}
