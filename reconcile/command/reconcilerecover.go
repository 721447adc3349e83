package command

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"bakehouse/reconcile"
	"bakehouse/reconcile/command/flags"
	"bakehouse/schema/fault"
)

func reconcileRecoverCommand(version string) *cobra.Command {
	o := reconcile.Options{Version: version}
	var alarm bool
	var asJSON *bool
	var signing *flags.Keys
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Publish again after a restore from a backup, after metadata expired, or after an alarm",
		Long: strings.TrimSpace(`
A store that was restored from a backup publishes versions that hosts have seen already, so hosts reject it. --above N
publishes everything above the highest timestamp version that a host has seen ("bakehouse serve seen" prints it).

If nobody ran reconcile until targets or bins expired, --after-expiry signs everything again from the commit. It ignores
everything in the store except version numbers. So does --after-alarm, after somebody published what follows from no
reviewed commit: find out first whose keys did it, and replace them by a next root. All hosts are given their packages
under a new release number, older candidates are dropped, and the delays of rings begin again.`),
		Example: `  bakehouse reconcile recover --store /srv/bakehouse --above "$(bakehouse serve seen)"
  bakehouse reconcile recover --store /srv/bakehouse --after-expiry`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Recovery.Expired = o.Recovery.Expired || alarm
			if o.Recovery.Seen <= 0 && !o.Recovery.Expired {
				return fault.Hint(errors.New("nothing to recover from"), "after a restore: --above N, where N is the highest "+
					"timestamp version that a host has seen (bakehouse serve seen --database FILE; if that is lost too, "+
					"`bakehouse-agent status` on the hosts, or a number that is surely higher); "+
					"after targets or bins expired: --after-expiry; after an alarm: --after-alarm")
			}
			if err := flags.Complete(&o, signing); err != nil {
				return err
			}
			return pass(cmd, o, *asJSON)
		},
	}
	signing = flags.Pass(cmd, &o)
	flags.Programs(cmd, &o.Programs)
	flags.Jobs(cmd, &o.Jobs)
	flags.Init(cmd, &o)
	cmd.Flags().Int64Var(&o.Recovery.Seen, "above", 0, "the highest timestamp version that a host has seen")
	cmd.Flags().BoolVar(&o.Recovery.Expired, "after-expiry", false,
		"targets or bins have expired: sign everything again from the commit")
	cmd.Flags().BoolVar(&alarm, "after-alarm", false,
		"what is published follows from no reviewed commit: sign everything again from the commit")
	asJSON = flags.AddJSON(cmd)
	return cmd
}
