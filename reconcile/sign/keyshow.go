package sign

import (
	"fmt"
	"strings"

	"bakehouse/schema"

	"github.com/spf13/cobra"
)

// keyShowCommand is `bakehouse key show`.
func keyShowCommand() *cobra.Command {
	var repo string
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Print a key's public half as PEM",
		Long:    `Print a key's public half as PEM: what a host without a package is told to accept (bakehouse-agent register --key).`,
		Example: `  bakehouse key show release > release.pem`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			key := f.Keys[args[0]]
			if key == nil {
				return schema.Hint(fmt.Errorf("the fleet has no key %.80q", args[0]), "list the keys with `bakehouse key list`")
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(key.Public))
			return err
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	return c
}
