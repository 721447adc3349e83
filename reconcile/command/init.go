package command

import (
	"fmt"
	"strings"

	"bakehouse/examples"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/source"
	"bakehouse/reconcile/starter"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// initCommand is `bakehouse init`.
func initCommand() *cobra.Command {
	var r starter.Repo
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Start a fleet repository",
		Long: `Write the files of a small fleet into DIR (default: the current directory), which must be empty or a git
repository without files, and make it a git repository if it is none. Nothing is committed: keys and the root of trust
come first. The steps that follow are printed.

With --certificates hosts trust the server by these certificates and no others: that of the authority that signed the
server's, or the server's own if it is self-signed. Without it they trust the public authorities.

CODEOWNERS lists what decides for the whole fleet or acts as root on its hosts, so that a forge asks for approval.
Replace @OWNER in it with your team. .gitattributes makes a checkout have the bytes of the commit, with Unix line
ends in CUE and scripts.`,
		Example: `  bakehouse init fleet
  bakehouse init fleet --example quickstart --url https://bakehouse.example:8443 --certificates server.pem
  bakehouse init fleet --format rpm`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Dir = "."
			if len(args) == 1 {
				r.Dir = args[0]
			}
			if lost := source.LostHere(r.Dir, "fleet.cue"); lost != nil {
				return fault.Hint(fmt.Errorf("%s had a fleet: %v", r.Dir, lost),
					"restore it: git checkout %.12s -- .", lost.Last)
			}
			if err := r.Write(); err != nil {
				return err
			}
			return r.PrintSteps(cmd.OutOrStdout(), program.BuiltFrom())
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.URL, "url", "", "the server as hosts reach it, for fleet.cue (default: that of the example)")
	f.StringVar(&r.Certificates, "certificates", "", "`FILE` of certificates (PEM) by which hosts trust the server")
	f.StringVar(&r.Format, "format", "", "package format of the hosts: deb, rpm or tgz (default: that of the example)")
	f.StringVar(&r.Example, "example", "minimal", "what to start from: "+strings.Join(examples.Names(), ", "))
	return cmd
}
