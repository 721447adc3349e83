package root

import (
	"context"
	"fmt"
	"io"
	"time"

	"bakehouse/reconcile/command/flags"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/roots"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

const firstRoot = "trust/1.root.json"

// noRoot is the error of a work tree that had a root and has none; nil if it has one, or never had. No host would
// accept another one.
func noRoot(repo string, f *fleet.Fleet) error {
	if len(f.Roots) > 0 {
		return nil
	}
	lost := source.LostHere(repo, firstRoot)
	if lost == nil {
		return nil
	}
	return fault.Hint(fmt.Errorf("%w: %v", roots.ErrNoRoot, lost), "restore it, because hosts trust no other: %s",
		lost.Restore())
}

// openCeremony is one over the work tree. Keys are at hand only if there are with for them. anew is whether it may go
// on where there was a root once.
func openCeremony(ctx context.Context, repo string, with *flags.Keys, anew bool) (*roots.Ceremony, error) {
	f, err := flags.LoadTop(ctx, repo)
	if err != nil {
		return nil, err
	}
	if err := noRoot(repo, f); err != nil && !anew {
		return nil, err
	}
	c := &roots.Ceremony{Fleet: f, Repo: repo, Now: time.Now()}
	if with != nil {
		access, err := with.Access(repo)
		if err != nil {
			return nil, err
		}
		c.Keys = access.Open(ctx, f).For
	}
	return c, nil
}

// openRoots reads the chain of the work tree, and picks the roots that args ask for: all, or one.
func openRoots(
	ctx context.Context, repo string, args []string,
) (f *fleet.Fleet, c *roots.Chain, asked []*roots.Root, err error) {
	if f, err = flags.LoadTop(ctx, repo); err != nil {
		return nil, nil, nil, err
	}
	if err = noRoot(repo, f); err != nil {
		return nil, nil, nil, err
	}
	if c, err = roots.Read(f); err != nil {
		return nil, nil, nil, err
	}
	arg := ""
	if len(args) > 0 {
		arg = args[0]
	}
	asked, err = c.Select(arg)
	return f, c, asked, err
}

// written is what root init, next and sign have written.
type written struct {
	File    string              `json:"file,omitempty"` // empty: nothing
	Digest  schema.Digest       `json:"digest"`         // of the newest root
	Signed  []string            `json:"signed,omitempty"`
	Changes *roots.Diff         `json:"changes,omitempty"`
	Status  roots.SigningStatus `json:"status"`
}

// writeRoot prints the result of a ceremony as JSON. file is empty if it changed nothing.
func writeRoot(w io.Writer, file string, made *roots.Chain, signed []string, changes *roots.Diff) error {
	newest := made.Newest()
	return console.WriteJSON(w, written{file, newest.Digest(), signed, changes, made.Status(newest)})
}

// printLacking says what the newest root still lacks.
func printLacking(w io.Writer, c *roots.Chain) {
	newest := c.Newest()
	if newest.Complete() {
		fmt.Fprintf(w, "%s is complete\n", newest)
		return
	}
	for _, q := range c.Status(newest).By {
		if !q.Met() {
			fmt.Fprintf(w, "%s, %s\n", newest, q)
		}
	}
	fmt.Fprintf(w, "who holds one of these keys adds a signature: bakehouse root sign\n")
}
