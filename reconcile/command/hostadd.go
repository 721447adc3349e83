package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/starter"
)

func hostAdd() *cobra.Command {
	var h starter.Host
	var repo string
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Print the CUE that adds a host, to be appended to its folder's hosts.cue",
		Long: `Print the CUE that adds a host. Nothing is changed: append the output to hosts.cue in the directory of
the host's folder, hosts/FOLDER/hosts.cue, or hosts/hosts.cue without --folder. If that file does not exist or is empty,
the output starts with a package clause. Create the directory of a new folder first.

Give only what differs from the defaults of the folder and those above it. The host is checked with the rest of the
files: nothing is printed if the name is taken or the result has errors.`,
		Example: `  bakehouse host add web03 --folder web --address 192.0.2.13 >> hosts/web/hosts.cue
  mkdir hosts/app && bakehouse host add app01 --folder app --label role=app >> hosts/app/hosts.cue`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h.Name = args[0]
			text, lacks, err := h.Add(cmd.Context(), repo)
			if err != nil {
				return err
			}
			if lacks != "" {
				console.Warn(cmd.ErrOrStderr(), "no package can be built for %s: %s", h.Name, lacks)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), text)
			return err
		},
	}
	flags.Worktree(c, &repo)
	f := c.Flags()
	f.StringVar(&h.Folder, "folder", "", "folder below hosts/, such as web or web/eu (default hosts/ itself)")
	f.StringVar(&h.Address, "address", "", "host name or IP address, for rules and plugins")
	f.StringVar(&h.Platform, "platform", "", "operating system and architecture, such as linux/amd64")
	f.StringVar(&h.Format, "format", "", "package format: deb, rpm, tgz, pkg or msi")
	f.StringVar(&h.Site, "site", "", "site that serves the host")
	f.StringVar(&h.Ring, "ring", "", "ring of the rollout, instead of the first whose condition holds")
	f.StringArrayVar(&h.Labels, "label", nil, "label, as `NAME=VALUE`; can be repeated")
	f.StringArrayVar(&h.Tags, "tag", nil, "tag, as `NAME=VALUE`; can be repeated")
	return c
}
