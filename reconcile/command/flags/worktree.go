package flags

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/settings"
	"bakehouse/reconcile/source"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Worktree adds --repo, for verbs that read or write the files in the directory.
func Worktree(c *cobra.Command, repo *string) {
	c.Flags().StringVar(repo, "repo", ".", "work tree of the fleet repo")
	settings.Trust(c.Flags(), "repo")
}

// CheckRepo reports a directory that holds no fleet repo.
func CheckRepo(repo string) error {
	if _, err := os.Lstat(filepath.Join(repo, "fleet.cue")); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			if lost := source.LostHere(repo, "fleet.cue"); lost != nil {
				return fault.Hint(fmt.Errorf("%s holds no fleet.cue: %v", repo, lost), "restore it: %s", lost.Restore())
			}
			err = nil
		}
		return fault.Hint(errors.Join(fmt.Errorf("%s holds no fleet.cue", repo), err),
			"set the fleet repo with --repo, or start one with bakehouse init")
	}
	return nil
}

// LoadFleet reads the work tree, hosts included.
func LoadFleet(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	r, err := evaluate.Load(ctx, os.DirFS(repo), nil)
	if err != nil {
		return nil, err
	}
	return r.Fleet, nil
}

// LoadTop reads keys and roots of the work tree: the hosts may have errors.
func LoadTop(ctx context.Context, repo string) (*fleet.Fleet, error) {
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	return evaluate.LoadTop(ctx, os.DirFS(repo))
}
