package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"

	"github.com/spf13/cobra"
)

// config says which state of the fleet repository to look at.
type config struct {
	repo, ref string
	worktree  bool
	evaluation
}

func (c *config) flags(cmd *cobra.Command) {
	repoFlags(cmd, &c.repo, &c.ref)
	c.evaluation.flag(cmd)
	cmd.Flags().BoolVar(&c.worktree, "worktree", false, "read the files as they lie in the folder, committed or not")
	cmd.MarkFlagsMutuallyExclusive("ref", "worktree")
}

// files returns the files and what to call them. Files that the commit does not have are named on log.
func (c *config) files(log io.Writer) (fs.FS, string, error) {
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
	var format string
	var soon, urgent schema.Duration
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a fleet repository and print every error at its file and line",
		Long: `Evaluates the fleet of a commit as "reconcile" would, needs neither keys nor a store, and prints every error as
file:line:column with what to do about it. By default it reads HEAD and names files of the work tree that differ;
with --worktree it reads the files as they are.

Warnings do not fail: hosts that no package can be made for, rules that match no host or are shadowed on all of theirs, hosts without a ring or a site,
intervals under 10 minutes, keys that expire soon, a root of trust that expires within 60 days. --format github writes workflow commands, which GitHub shows at the
lines of a pull request, and gitlab a code quality report; both, like json, hold errors and warnings.`,
		Example: `  bakehouse check --worktree
  bakehouse check --ref origin/main --format github`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			write := formats[format]
			if write == nil {
				return fault.Hint(fmt.Errorf("there is no format %.40q", format), "it is one of %s", strings.Join(slices.Sorted(maps.Keys(formats)), ", "))
			}
			fsys, what, err := c.files(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			found, err := check(cmd.Context(), c.evaluation.open(cmd.ErrOrStderr()), fsys, what, schema.KeyExpiry{Warn: soon, Critical: urgent}, time.Now())
			if err != nil {
				return err
			}
			if err := write(found, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
				return err
			}
			if n := found.errors(); n > 0 {
				return fmt.Errorf("%s: %s", what, console.Count(n, "error"))
			}
			return nil
		},
	}
	c.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "how to print what is found: text, json, github or gitlab")
	cmd.Flags().TextVar(&soon, "key-notice", schema.Duration(0), "from when before its expiry a key is noted; 0s: as keyExpiry in fleet.cue has it, or 90d")
	cmd.Flags().TextVar(&urgent, "key-warning", schema.Duration(0), "from when before its expiry a key is warned of; 0s: as keyExpiry in fleet.cue has it, or 30d")
	return cmd
}

// check evaluates the repo and collects all there is to say; zero in e is as fleet.cue has it. The error is about reading it, never about what it says.
func check(ctx context.Context, cache *evaluate.Cache, fsys fs.FS, what string, e schema.KeyExpiry, now time.Time) (*checked, error) {
	c := &checked{what: what}
	repo, err := cache.Load(ctx, fsys)
	var f *fleet.Fleet
	var resolved *rules.Resolved
	if err == nil {
		f = repo.Fleet
		e = schema.KeyExpiry{Warn: cmp.Or(e.Warn, f.KeyExpiry.Warn), Critical: cmp.Or(e.Critical, f.KeyExpiry.Critical)}
		c.findings = slices.Concat(findings(levelWarning, f.Warnings), ofKeys(f, e, now), ofRoot(f, now), findings(levelError, roots.Check(f)))
		resolved, err = rules.Resolve(ctx, f, repo)
	}
	var problems fleet.Problems
	switch {
	case errors.As(err, &problems):
		c.findings = append(c.findings, findings(levelError, problems)...)
	case err != nil:
		return nil, err
	default:
		c.findings = append(c.findings, findings(levelWarning, slices.Concat(resolved.Warnings, resolved.Missing))...)
		c.summary = &summary{Hosts: len(resolved.Hosts), Retired: len(resolved.Retired), Recipes: len(resolved.Recipes), Keys: len(f.Keys)}
		for _, p := range f.Plugins {
			if !p.Shipped {
				c.summary.Plugins++
			}
		}
	}
	if c.errors() > 0 {
		c.summary = nil
	}
	slices.SortStableFunc(c.findings, func(a, b finding) int { return a.Pos.Compare(b.Pos) })
	return c, nil
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
			return fault.Hint(err, "it is called %s now", h.Name)
		}
	}
	if hint := fleet.Nearest("did you mean %s?", name, names); hint != "" {
		return fault.Hint(err, "%s", hint)
	}
	return fault.Hint(err, "hosts stand under `hosts:` in the folders of hosts/")
}
