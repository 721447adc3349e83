package roots

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/keys"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Command is `bakehouse root`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Make, sign, verify and show the root of trust",
		Long: `Make, sign, verify and show the root of trust.

The root says which keys may sign which role, and how many have to. It stands in trust/N.root.json in the fleet repo, so
that changing it is a reviewed change: edit keys/, make the next root, have it signed, merge. Hosts walk from the root in
their package to the newest by themselves; each is signed by the keys of the one before and by its own.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(rootInitCommand(), rootNextCommand(), rootSignCommand(), rootVerifyCommand(), rootShowCommand())
	return c
}

// loadTop reads what the root is about: the hosts may have errors.
func loadTop(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := keys.CheckRepo(repo); err != nil {
		return nil, err
	}
	return evaluate.LoadTop(ctx, os.DirFS(repo))
}

func openCeremony(ctx context.Context, repo string, access *keys.Access) (*Ceremony, error) {
	f, err := loadTop(ctx, repo)
	if err != nil {
		return nil, err
	}
	ring, err := access.Open(ctx, f, repo)
	if err != nil {
		return nil, err
	}
	return &Ceremony{Fleet: f, Repo: repo, Now: time.Now(), Keys: ring.For}, nil
}

func rootInitCommand() *cobra.Command {
	var access keys.Access
	var repo string
	var bins int
	c := &cobra.Command{
		Use:   "init",
		Short: "Make trust/1.root.json from the uses and thresholds in keys/",
		Long: `Make trust/1.root.json from the uses and thresholds in keys/, and sign it with the keys at hand that have the use root.
If thresholds.root is above the number of those, the others add their signatures: bakehouse root sign. Nothing is published
before the root is complete.

The number of bins is fixed for the fleet's life. A host reads one bin: about a hundred hosts per bin is right, so 64
are good for ten thousand hosts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCeremony(cmd.Context(), repo, &access)
			if err != nil {
				return err
			}
			made, err := c.Init(bins)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: the root of trust of fleet %s (commit it)\n", c.File(1), c.Fleet.Name)
			tellStanding(cmd.ErrOrStderr(), made)
			fmt.Fprintln(cmd.OutOrStdout(), schema.DigestOf(made.Newest().bytes))
			return nil
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	access.Flags(c)
	c.Flags().IntVar(&bins, "bins", 64, "number of hashed bins, a power of two")
	return c
}

// tellStanding says what the newest root still lacks.
func tellStanding(w io.Writer, c *Chain) {
	if c.Newest().Complete() {
		fmt.Fprintf(w, "%s is complete\n", c.Newest())
		return
	}
	for _, q := range c.Newest().quorums {
		if !q.met() {
			fmt.Fprintf(w, "%s, %s: %d of %s, still to sign: %s\n", c.Newest(), q.whose(), len(q.signed), signatures(q.threshold), c.list(q.lacking))
		}
	}
	fmt.Fprintf(w, "who holds one of these keys adds a signature: bakehouse root sign\n")
}

func rootNextCommand() *cobra.Command {
	var repo string
	var renew, discard bool
	c := &cobra.Command{
		Use:   "next",
		Short: "Make the root that follows from keys/, to be signed",
		Long: `Make the root that follows from the uses and thresholds in keys/, and say what it changes. It takes no key: nobody has
signed it yet. Fleet and bins stay, the expiry is new. It is in force once enough keys of the root before and of its own
have signed it (bakehouse root sign) and reconcile has published it.

While it lacks signatures it can be made again, after another change to keys/.`,
		Example: "  bakehouse key create carol --use root\n  bakehouse root next\n  bakehouse root sign --key alice",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCeremony(cmd.Context(), repo, &keys.Access{})
			if err != nil {
				return err
			}
			diff, made, err := c.Next(renew, discard)
			if err != nil {
				return err
			}
			if diff == nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s says what keys/ say already\n", made.Newest())
			} else {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: to be signed\n", c.File(made.Newest().version))
				if err := diff.tell(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			tellStanding(cmd.ErrOrStderr(), made)
			return nil
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	c.Flags().BoolVar(&renew, "renew", false, "make it even if only the expiry changes")
	c.Flags().BoolVar(&discard, "discard-signatures", false, "replace a root that lacks signatures, and lose those that it has")
	return c
}

func rootSignCommand() *cobra.Command {
	var access keys.Access
	var repo, name, private string
	c := &cobra.Command{
		Use:   "sign",
		Short: "Add a signature to the newest root",
		Long: `Add a signature to the newest root in trust/, with the keys at hand that it still needs, or with the one that --key names.
Look at what you sign: bakehouse root show --diff.

Keys of the root before count, and keys of the new one. A key that is being removed signs like any other: its private half
is looked for under the name that it had. Two people can sign on two branches: git merges their signatures.

A complete root gets no further signature, because packages and the store know a root by its bytes.`,
		Example: "  bakehouse root sign --key alice\n  bakehouse root sign --key 3f2a91bc --private old-alice.key",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := openCeremony(cmd.Context(), repo, &access)
			if err != nil {
				return err
			}
			added, made, err := c.Sign(name, private)
			if err != nil {
				return err
			}
			newest := made.Newest()
			switch {
			case len(added) > 0:
				fmt.Fprintf(cmd.ErrOrStderr(), "%s: signed by %s (commit it)\n", c.File(newest.version), strings.Join(added, ", "))
			case name != "":
				fmt.Fprintf(cmd.ErrOrStderr(), "%s is signed by %s already\n", newest, name)
			}
			tellStanding(cmd.ErrOrStderr(), made)
			return nil
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	access.Flags(c)
	c.Flags().StringVar(&name, "key", "", "name of the key, or the start of its id (default: every key at hand that is needed)")
	c.Flags().StringVar(&private, "private", "", "where the private half of a key is that keys/ no longer lists (default NAME.key in the key folder)")
	return c
}
