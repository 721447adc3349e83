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
)

func showCommand() *cobra.Command {
	var repo string
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a key: its public half on standard output, the rest on standard error",
		Example: "  bakehouse key show release\n  bakehouse key show release > release.pem",
		Args:    cobra.ExactArgs(1),
	}
	flags.Worktree(c, &repo)
	with := &flags.Keys{Cmd: c}
	with.AddDir()
	with.AddPlugins()
	asJSON := flags.AddJSON(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := flags.LoadFleet(cmd.Context(), repo)
		if err != nil {
			return err
		}
		access, err := with.Access(repo)
		if err != nil {
			return err
		}
		info, err := access.Open(cmd.Context(), f).Info(args[0], f.KeyExpiry)
		if err != nil {
			return err
		}
		if *asJSON {
			return console.WriteJSON(cmd.OutOrStdout(), info)
		}
		if err := printKey(cmd.ErrOrStderr(), &info); err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), info.Public)
		return err
	}
	return c
}

// printKey prints what is known of a key, without its public half.
func printKey(out io.Writer, i *keys.Info) error {
	w := console.NewTable(out)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("key", i.Name)
	row("uses", strings.Join(i.Uses, ", "))
	row("type", i.Type)
	row("id", i.ID)
	row("private half", i.Private)
	row("expires", keyEnd(i))
	if i.Retired != nil {
		row("retired", i.Retired.Format(time.RFC3339))
	}
	row("state", i.StateText())
	if i.Why != "" {
		row("why", i.Why)
	}
	return w.Flush()
}
