package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fleet"

	"github.com/spf13/cobra"
)

// config says which state of the fleet repository to look at.
type config struct {
	repo, ref string
	worktree  bool
}

func (c *config) flags(cmd *cobra.Command) {
	repoFlags(cmd, &c.repo, &c.ref)
	cmd.Flags().BoolVar(&c.worktree, "worktree", false, "read the files as they lie in the folder, committed or not")
	cmd.MarkFlagsMutuallyExclusive("ref", "worktree")
}

// open returns the files and what to call them. Files that the commit does not have are named on log.
func (c *config) open(log io.Writer) (fs.FS, string, error) {
	if c.worktree {
		fsys, err := source.Worktree(c.repo)
		return fsys, "the files in " + c.repo, err
	}
	repo, err := source.Open(c.repo)
	if err != nil {
		return nil, "", err
	}
	rev, err := repo.Revision(c.ref)
	if err != nil {
		return nil, "", err
	}
	if err := nameDirty(repo, rev, log); err != nil {
		return nil, "", err
	}
	return rev.FS, fmt.Sprintf("commit %.12s", rev.Commit), nil
}

// CheckCommand is `bakehouse check`.
func CheckCommand() *cobra.Command {
	var c config
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a fleet repository and print every error at its file and line",
		Long: `Evaluates the fleet of a commit as "reconcile" would, needs neither keys nor a store, and prints every error as
file:line:column with what to do about it. By default it reads HEAD and names files of the work tree that differ;
with --worktree it reads the files as they are.`,
		Example: `  bakehouse check --worktree
  bakehouse check --ref origin/main`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fsys, what, err := c.open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return check(cmd.Context(), fsys, what, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.flags(cmd)
	return cmd
}

// check prints the problems on out, since they are what was asked for, and warnings on log.
func check(ctx context.Context, fsys fs.FS, what string, out, log io.Writer) error {
	f, err := fleet.Load(ctx, fsys)
	var resolved *rules.Resolved
	if err == nil {
		resolved, err = rules.Resolve(ctx, f)
	}
	var problems fleet.Problems
	if errors.As(err, &problems) {
		fmt.Fprintln(out, problems)
		return fmt.Errorf("%s: %s", what, count(len(problems), "error"))
	}
	if err != nil {
		return err
	}
	for _, p := range slices.Concat(f.Warnings, resolved.Missing) {
		fmt.Fprintf(log, "bakehouse: warning: %v\n", p)
		if p.Hint != "" {
			fmt.Fprintf(log, "bakehouse: hint: %s\n", p.Hint)
		}
	}
	own := 0
	for _, p := range f.Plugins {
		if !p.Shipped {
			own++
		}
	}
	retired := ""
	if n := len(resolved.Retired); n > 0 {
		retired = fmt.Sprintf(", %d retired", n)
	}
	fmt.Fprintf(out, "ok: %s: %s%s, %s, %s of its own, %s\n", what, count(len(resolved.Hosts), "host"), retired, count(len(resolved.Recipes), "recipe"),
		count(own, "plugin"), count(len(f.Keys), "key"))
	return nil
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
			return schema.Hint(err, "it is called %s now", h.Name)
		}
	}
	if hint := fleet.Nearest("did you mean %s?", name, names); hint != "" {
		return schema.Hint(err, "%s", hint)
	}
	return schema.Hint(err, "hosts stand under `hosts:` in the folders of hosts/")
}
