package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/rebuild"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func packageVerifyCommand() *cobra.Command {
	var o rebuild.Options
	var all bool
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "verify HOST | --all",
		Short: "Bake a published package again and compare",
		Long: strings.TrimSpace(`
Bakes the package again, from the commit that the release names or from --ref, and compares it with the published one.
Nothing but source files is taken from the store for that, and those by their digests. What differs is listed field by
field and file by file, and the command exits with 3. --all does so for every package of the release.`),
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
			if cmd.Flag("ref").Changed {
				o.Commit = o.Ref
			}
			if !all {
				o.Host = args[0]
				if err := schema.CheckHostName(o.Host); err != nil {
					return err
				}
			}
			found, err := rebuild.Verify(cmd.Context(), o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := printVerified(cmd.OutOrStdout(), found, *asJSON); err != nil {
				return err
			}
			wrong := found.Differ()
			if wrong == 0 {
				return nil
			}
			hint := "find out who published them: `bakehouse reproduce HASH` names commit, release and signatures, " +
				"`bakehouse store fsck` what was altered"
			if o.Commit != "" && o.Commit != found.Commit {
				hint = fmt.Sprintf("the published release is of commit %.12s: leave --ref out to bake that one", found.Commit)
			}
			return fault.Refuse(fmt.Errorf("%d of %d published packages differ from what %s yields",
				wrong, len(found.Packages), found.State), "%s", hint)
		},
	}
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.Store)
	programFlags(cmd, &o.Programs)
	jobsFlag(cmd, &o.Jobs)
	cmd.Flags().BoolVar(&all, "all", false, "every published package")
	asJSON = addJSON(cmd)
	return cmd
}

func printVerified(w io.Writer, found *rebuild.Verified, asJSON bool) error {
	if asJSON {
		return console.WriteJSON(w, found)
	}
	var b strings.Builder
	for _, e := range found.Packages {
		b.WriteString(e.Summary(found.State))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
