package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/settings"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// KeyCommand is `bakehouse key`, with subcommands that need more than keys.
func KeyCommand(more ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use:   "key",
		Short: "Make, import, list and retire the keys that sign",
		Long: `Make, import, list and retire the keys that sign.

A key's public half and its uses are in keys/NAME.cue in the fleet repo, so that giving a key a use is a reviewed
change. Its private half is kept outside, encrypted with a passphrase that is stored nowhere, or never leaves a KMS or
HSM.

Passphrases come from the variable BAKEHOUSE_PASSPHRASE_<NAME> (upper case, '-' and '.' as '_'), from the first line of
--passphrase-file or of the descriptor --passphrase-fd, or from a prompt. They are never an argument, and no child of
this program inherits the variables.

Key services: awskms://, gcpkms://, azurekms://, hashivault:// and openbao:// in ` + build() + `;
anything else, such as an HSM, by a sigstore-kms plugin (--kms-plugin NAME=/absolute/path for keys at NAME://…).`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(keyCreate(), keyImport(), keyExport(), keyPassphrase(), keyList(), keyShow())
	c.AddCommand(more...)
	return c
}

func build() string {
	if keys.FullBuild {
		return "this full build"
	}
	return "a full build (go build -tags kms), which this is not"
}

func keyRepoFlag(c *cobra.Command, repo *string) {
	c.Flags().StringVar(repo, "repo", ".", "work tree of the fleet repo")
	settings.Trust(c.Flags(), "repo")
}

// checkRepo reports a directory that holds no fleet repo.
func checkRepo(repo string) error {
	if _, err := os.Lstat(filepath.Join(repo, "fleet.cue")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return fault.Hint(errors.Join(fmt.Errorf("%s holds no fleet.cue", repo), err),
			"set the fleet repo with --repo, or start one with bakehouse init")
	}
	return nil
}

// loadFleet reads the work tree, hosts included.
func loadFleet(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := checkRepo(repo); err != nil {
		return nil, err
	}
	r, err := evaluate.Load(ctx, os.DirFS(repo), nil)
	if err != nil {
		return nil, err
	}
	return r.Fleet, nil
}

// loadTop reads keys and roots of the work tree: the hosts may have errors.
func loadTop(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := checkRepo(repo); err != nil {
		return nil, err
	}
	return evaluate.LoadTop(ctx, os.DirFS(repo))
}

// newKeyFlags are the flags for a key that is to be added to the repo.
type newKeyFlags struct {
	keys.New
	expires string
}

func (n *newKeyFlags) add(c *cobra.Command) {
	keyRepoFlag(c, &n.Repo)
	c.Flags().StringSliceVar(&n.Uses, "use", nil, "what the key is for: "+strings.Join(keys.Uses, ", "))
	c.Flags().StringVar(&n.expires, "expires", "", "day from which the key no longer signs, such as 2028-01-01")
}

// parse completes the key that is called name.
func (n *newKeyFlags) parse(name string) (err error) {
	n.Name = name
	if n.Expires, err = parseExpiry(n.expires); err != nil {
		return err
	}
	return checkRepo(n.Repo)
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
