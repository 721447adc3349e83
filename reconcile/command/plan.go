package command

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/settings"
	"bakehouse/schema/fault"
)

// planCommand is `bakehouse plan`; version is this program's.
func planCommand(version string) *cobra.Command {
	p := reconcile.Preview{Version: version}
	var state flags.State
	var format string
	var asJSON, detailed, summary bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show what a commit changes: which hosts, which files, what acts as root, and which line is to blame",
		Long: strings.TrimSpace(`
Compares a commit with another state and prints what reconcile would change: the hosts whose package becomes another,
grouped by equal change, with the differences of the files in it and the rule or file that causes them; hosts added and
removed; other attributes. What acts as root on a host comes first and is marked: scripts, services, executables, and
files that programs of root obey. It needs no keys, bakes nothing, and never writes to the store.

It compares with the commit's first parent, which for the merge commit of a pull request is the branch it goes to; with
--base REF as that commit is; with --against STORE with what is published there, verified from the repository's trust/,
where the content of packages comes from the commit of that release if the clone has it.

Like reconcile, it refuses to remove more hosts than limits.removed in fleet.cue (default 50, and half), unless a commit
message since the base accounts for them: "Bakehouse-Remove: hosts/web 120". With --allowed-signers or --keyring it says
whether reconcile would take the commits since the base: in the job of a pull request, before they are merged.

Exit codes: 0 done, 1 error; with --detailed-exitcode 0 no changes, 1 error, 2 changes; 3 something did not verify.`),
		Example: `  bakehouse plan
  bakehouse plan --base origin/main --format markdown > comment.md
  bakehouse plan --against /srv/bakehouse/store --out plan.json && bakehouse reconcile --plan plan.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				format = "json"
			}
			write, ok := planFormats[format]
			if !ok {
				return fault.Hint(fmt.Errorf("unknown format %.20q", format), "want text, json or markdown")
			}
			if summary && format != "text" {
				return fault.Hint(fmt.Errorf("--summary shortens the text, and --format is %s", format), "leave one of them out")
			}
			if summary {
				write = (*plan.Report).SummaryText
			}
			p.Where, p.CacheDir = state.Where, state.CacheDir
			r, refusal, err := p.Report(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := write(r, cmd.OutOrStdout()); err != nil || refusal != nil {
				return errors.Join(err, refusal)
			}
			if p.Out != "" {
				if err := p.Save(cmd.Context(), r); err != nil {
					return err
				}
			}
			if detailed && !r.Empty() {
				return fault.ErrChanges
			}
			return nil
		},
	}
	state.Add(cmd)
	flags.Commits(cmd, &p.Commits)
	f := cmd.Flags()
	f.StringVar(&p.Base, "base", "", "commit, branch or tag to compare with (default the first parent; with --against "+
		"the published commit)")
	f.StringVar(&p.Against, "against", "", "store whose published release to compare with: a directory")
	f.StringVar(&p.Out, "out", "", "file to write the plan to, for reconcile --plan; needs --against")
	f.StringVar(&format, "format", "text", "text, json or markdown (a comment for a pull request)")
	f.BoolVar(&asJSON, "json", false, "print JSON, errors too")
	f.BoolVar(&summary, "summary", false, "print hosts, reasons and items, without the differences in files")
	f.BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 if something changes")
	settings.Trust(f, "against")
	settings.Setting(f, "format", "json")
	cmd.MarkFlagsMutuallyExclusive("json", "format")
	cmd.MarkFlagsMutuallyExclusive("json", "summary")
	return cmd
}

var planFormats = map[string]func(*plan.Report, io.Writer) error{
	"text":     (*plan.Report).Text,
	"markdown": (*plan.Report).Markdown,
	"json":     func(r *plan.Report, w io.Writer) error { return console.WriteJSON(w, r) },
}
