package command

import (
	"context"
	"fmt"
	"io"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/roots"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// openCeremony is one over the work tree. Keys are at hand only if there are flags for them.
func openCeremony(ctx context.Context, repo string, flags *KeyFlags) (*roots.Ceremony, error) {
	f, err := loadTop(ctx, repo)
	if err != nil {
		return nil, err
	}
	c := &roots.Ceremony{Fleet: f, Repo: repo, Now: time.Now()}
	if flags != nil {
		access, err := flags.Access(repo)
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
	if f, err = loadTop(ctx, repo); err != nil {
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
