package command

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"

	"github.com/spf13/cobra"
)

// checkCommand is `bakehouse check`.
func checkCommand() *cobra.Command {
	var c flags.State
	var format string
	var soon, urgent schema.Duration
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a fleet repository and print every error at its file and line",
		Long: `Evaluates the fleet of a commit as "reconcile" would, needs neither keys nor a store, and prints every error as
file:line:column with what to do about it. By default it reads HEAD and names files of the work tree that differ;
with --worktree it reads the files as they are.

Warnings do not fail: hosts that no package can be built for, rules that match no host or are shadowed on all of
theirs, hosts without a ring or a site, intervals under 10 minutes, secrets and private keys that everybody on a host
can read, users and groups that hosts do not have, keys that expire soon, a root of trust that expires within 60 days,
a way to the server (server, proxy, certificates) that changes for all hosts at once. --format github writes workflow
commands, which GitHub shows at the lines of a pull request, and gitlab a code quality report; both, like json, hold
errors and warnings.`,
		Example: `  bakehouse check --worktree
  bakehouse check --ref origin/main --format github`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if *asJSON {
				format = "json"
			}
			write := diagnosticFormats[format]
			if write == nil {
				return fault.Hint(fmt.Errorf("unknown format %.40q", format),
					"want github, gitlab, json or text")
			}
			s, err := c.Pin(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			found, err := s.Diagnose(cmd.Context(), schema.KeyExpiry{Warn: soon, Critical: urgent}, time.Now())
			if err != nil {
				return err
			}
			if err := write(found, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			if n := found.Errors(); n > 0 {
				return fmt.Errorf("%s: %s", s.Name, console.Count(n, "error"))
			}
			return nil
		},
	}
	c.Add(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "how to print what is found: text, json, github or gitlab")
	asJSON = flags.AddJSON(cmd)
	settings.Setting(cmd.Flags(), "format")
	cmd.MarkFlagsMutuallyExclusive("json", "format")
	cmd.Flags().TextVar(&soon, "key-notice", schema.Duration(0),
		"how long before its expiry a key is noted (default keyExpiry in fleet.cue, or 90d)")
	cmd.Flags().TextVar(&urgent, "key-warning", schema.Duration(0),
		"how long before its expiry a key is warned of (default keyExpiry in fleet.cue, or 30d)")
	settings.Setting(cmd.Flags(), "key-notice", "key-warning")
	return cmd
}

// noHost adds to ErrNoHost which name may have been meant.
func noHost(err error, f *fleet.Fleet, name string) error {
	if !errors.Is(err, rules.ErrNoHost) {
		return err
	}
	names := make([]string, len(f.Hosts))
	for i, h := range f.Hosts {
		names[i] = h.Name
		if slices.Contains(h.Was, name) {
			return fault.Hint(err, "it is called %s now", h.Name)
		}
	}
	if hint := fleet.Nearest("did you mean %s?", name, names); hint != "" {
		return fault.Hint(err, "%s", hint)
	}
	return fault.Hint(err, "hosts are listed under `hosts:` in the files below hosts/")
}
