package key

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/keys"
)

// newKeyFlags are the flags for a key that is to be added to the repo.
type newKeyFlags struct {
	keys.New
	expires string
}

func (n *newKeyFlags) add(c *cobra.Command) {
	flags.Worktree(c, &n.Repo)
	c.Flags().StringSliceVar(&n.Uses, "use", nil, "what the key is for: "+strings.Join(keys.Uses, ", "))
	c.Flags().StringVar(&n.expires, "expires", "", "day from which the key no longer signs, such as 2028-01-01")
}

// parse completes the key that is called name.
func (n *newKeyFlags) parse(name string) (err error) {
	n.Name = name
	if n.Expires, err = parseExpiry(n.expires); err != nil {
		return err
	}
	return flags.CheckRepo(n.Repo)
}

func parseExpiry(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("--expires %.40q is not a day such as 2028-01-01", s)
}

// printAdded prints the key's id on standard output, and where its halves are beside it.
func printAdded(cmd *cobra.Command, a *keys.Added, asJSON bool) error {
	if asJSON {
		return console.WriteJSON(cmd.OutOrStdout(), a)
	}
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "public half: %s (commit it)\n", a.Public)
	switch {
	case a.Remote:
		fmt.Fprintf(w, "private half: %s\n", a.Private)
	case a.Private != "":
		fmt.Fprintf(w, "private half: %s (keep it)\n", a.Private)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), a.ID)
	return err
}
