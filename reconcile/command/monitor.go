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
	"bakehouse/reconcile/settings"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// monitorCommand is `bakehouse monitor`.
func monitorCommand(version string) *cobra.Command {
	o := reconcile.Options{Version: version}
	var state, metrics string
	var from int64
	var asJSON *bool
	cmd := &cobra.Command{
		Use:   "monitor",
		Short: "Judge every published release by the commit that it names",
		Long: strings.TrimSpace(`
Makes each release again, from the state before it and the commit that it names, and compares everything but signatures:
what each host is given and since when, older candidates, rings, selection, revocations, sites, access, roots, versions
and expiries. New packages are baked again. The commit has to be --ref or an ancestor of it. Nothing is believed for
being signed by an online key, so run it on another machine than reconcile, with a clone of its own.

One run judges what was published since the last, in order, and ends; run it again by a timer. --state keeps the place.
The place moves past clean releases only: an alarm is repeated by every run until somebody has looked and says so with
--from N, which begins after timestamp N and takes what was before as good. Without a place or --from the first run
begins with the oldest release that the store keeps, of which it cannot tell where older candidates come from.

A release that "reconcile recover" made is clean if it follows from the commit, and says so: ask who did it.

"Cannot judge" is neither clean nor an alarm: another version of bakehouse made the release and this one makes it
otherwise, or the clone is shallow.

Exit codes: 0 all is clean, 1 error, 3 alarm, 4 cannot judge.`),
		Example: `  git -C fleet pull -q && bakehouse monitor --repo fleet --store /srv/bakehouse --state place.json
  bakehouse monitor --state place.json --from 41 --prometheus /var/lib/node_exporter/bakehouse.prom`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if state == "" {
				return fault.Hint(errors.New("no file to keep the place in"), "set one: bakehouse monitor --state FILE")
			}
			switch {
			case !cmd.Flag("from").Changed:
				from = -1
			case from < 0:
				return fault.Hint(fmt.Errorf("invalid --from %d", from), "give a timestamp's number")
			}
			done, err := reconcile.Monitor(cmd.Context(), o, state, from, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if metrics != "" {
				if err := durable.WriteFile(metrics, done.Prometheus(), 0o644); err != nil {
					return fault.Hint(err, "name another file with --prometheus")
				}
			}
			if *asJSON {
				err = console.WriteJSON(cmd.OutOrStdout(), done)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), done.Text())
			}
			return errors.Join(err, done.Err())
		},
	}
	flags.Repo(cmd, &o.Where)
	flags.Store(cmd, &o.Store)
	flags.Commits(cmd, &o.Commits)
	flags.Cache(cmd, &o.CacheDir)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	f := cmd.Flags()
	f.StringVar(&state, "state", "", "`FILE` that keeps the place up to which releases are clean")
	f.StringVar(&metrics, "prometheus", "", "`FILE` to write metrics to, for node_exporter's textfile collector")
	f.Int64Var(&from, "from", 0,
		"begin after this timestamp, 0: with the oldest; somebody has looked at what was before")
	settings.Trust(f, "state", "prometheus")
	asJSON = flags.AddJSON(cmd)
	return cmd
}
