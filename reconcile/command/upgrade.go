package command

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/upgrade"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// upgradeCommand is `bakehouse upgrade`; version is this program's, which its host programs share.
func upgradeCommand(version string) *cobra.Command {
	var places program.Places
	var asJSON *bool
	var repo string
	var platforms []string
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Pin this release's host programs in the fleet repo",
		Long: strings.TrimSpace(`
Rewrites programs.cue in the fleet repo: for each platform the version and SHA-256 of bakehouse-agent. Nothing else is
changed and no package is baked: review and commit the file, then reconcile.

Platforms are those that are pinned and those of the fleet's hosts in the work tree; --platform sets others. A host's
platform that has no program is reported and stays unpinned: such hosts get no package.

Programs are taken from the directory "programs" beside this executable (releases bring it), or built from a source
checkout, reproducibly: the same source and Go release make the same bytes on any machine.`),
		Example: "  bakehouse upgrade --repo fleet\n  bakehouse upgrade --source ~/src/bakehouse --platform linux/arm64",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if fleet.CheckVersion(version) != nil {
				version = "0.0.0~dev"
			}
			var want []schema.Platform
			for _, s := range platforms {
				p, err := schema.ParsePlatform(s)
				if err != nil {
					return err
				}
				want = append(want, p)
			}
			changes, err := upgrade.Upgrade(cmd.Context(), repo, places, version, want)
			if err != nil {
				return err
			}
			if *asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), changes)
			}
			for _, c := range changes {
				w := cmd.OutOrStdout()
				if c.Lacks != nil {
					w = cmd.ErrOrStderr()
				}
				if _, err := fmt.Fprintln(w, c); err != nil {
					return err
				}
			}
			if slices.ContainsFunc(changes, func(c upgrade.Change) bool { return c.Old != c.New }) {
				fmt.Fprintf(cmd.ErrOrStderr(), "wrote %s; commit it to bring this to hosts\n",
					filepath.Join(repo, upgrade.FileName))
			}
			return nil
		},
	}
	flags.Worktree(cmd, &repo)
	cmd.Flags().StringSliceVar(&platforms, "platform", nil,
		"platforms to pin, os/arch (default those that are pinned and those of the hosts)")
	flags.Programs(cmd, &places)
	asJSON = flags.AddJSON(cmd)
	return cmd
}
