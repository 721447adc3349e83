package roots

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// rootInfo is what `root show` prints of a root.
type rootInfo struct {
	Version  int64         `json:"version"`
	Fleet    string        `json:"fleet"`
	Bins     int           `json:"bins"`
	Expires  time.Time     `json:"expires"`
	Digest   schema.Digest `json:"digest"`
	Anchor   bool          `json:"anchor"`
	Complete bool          `json:"complete"`
	Roles    []roleInfo    `json:"roles"`
	Changes  *Diff         `json:"changes"` // against the root before
}

type roleInfo struct {
	Role      string   `json:"role"`
	Threshold int      `json:"threshold"`
	Keys      []string `json:"keys"` // names, or the start of ids that have none
}

func rootShowCommand() *cobra.Command {
	var repo string
	var asJSON, diff bool
	c := &cobra.Command{
		Use:     "show [N]",
		Short:   "Show the roots in trust/, or root N: who may sign what",
		Example: "  bakehouse root show\n  bakehouse root show --diff 2    # what root 2 changes",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadTop(cmd.Context(), repo)
			if err != nil {
				return err
			}
			c, roots, err := openRoots(f, args)
			if err != nil {
				return err
			}
			for _, r := range c.roots {
				if err := c.soundOne(r); fault.IsRefusal(err) {
					return err
				}
			}
			if asJSON {
				infos := []rootInfo{}
				for _, r := range roots {
					infos = append(infos, c.show(r, f))
				}
				return printJSON(cmd.OutOrStdout(), infos)
			}
			for i, r := range roots {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				info := c.show(r, f)
				tell := info.tell
				if diff {
					tell = info.Changes.tell
				}
				if err := tell(cmd.OutOrStdout()); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	c.Flags().BoolVar(&diff, "diff", false, "show what each root changes of the one before")
	return c
}

// openRoots reads the chain and picks the roots that are asked for: all, or the one that args name.
func openRoots(f *fleet.Fleet, args []string) (*Chain, []*Root, error) {
	c, err := Read(f)
	if err != nil {
		return nil, nil, err
	}
	if len(c.roots) == 0 {
		return nil, nil, fault.Hint(errors.New("the repo has no trust/1.root.json"), "make it: bakehouse root init")
	}
	if len(args) == 0 {
		return c, c.roots, nil
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 || n > len(c.roots) {
		return nil, nil, fault.Hint(fmt.Errorf("there is no root %.20q", args[0]), "trust/ has roots 1 to %d", len(c.roots))
	}
	return c, c.roots[n-1 : n], nil
}

func (c *Chain) show(r *Root, f *fleet.Fleet) rootInfo {
	info := rootInfo{Version: r.md.Signed.Version, Fleet: r.info.Fleet, Bins: r.info.Bins, Expires: r.md.Signed.Expires,
		Digest: schema.DigestOf(r.bytes), Anchor: r.version == f.AnchorVersion, Complete: r.Complete()}
	for _, role := range roles {
		ri := roleInfo{Role: role, Threshold: r.md.Signed.Roles[role].Threshold}
		for _, id := range r.md.Signed.Roles[role].KeyIDs {
			ri.Keys = append(ri.Keys, c.name(id))
		}
		info.Roles = append(info.Roles, ri)
	}
	var before *metadata.Metadata[metadata.RootType]
	if r.version > 1 {
		before = c.roots[r.version-2].md
	}
	info.Changes = diffRoots(before, r.md, c.name)
	return info
}

func (r *rootInfo) tell(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	what := ""
	if r.Anchor {
		what += " (anchor)"
	}
	if !r.Complete {
		what += " (lacks signatures)"
	}
	fmt.Fprintf(w, "root %d%s\n", r.Version, what)
	fmt.Fprintf(w, "fleet\t%s\nbins\t%d\nexpires\t%s\ndigest\t%s\n", r.Fleet, r.Bins, r.Expires.Format(time.RFC3339), r.Digest)
	for _, role := range r.Roles {
		fmt.Fprintf(w, "%s\t%d of ", role.Role, role.Threshold)
		for i, key := range role.Keys {
			fmt.Fprint(w, []string{"", ", "}[min(i, 1)], key)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// standing is what `root verify` says of a root.
type standing struct {
	Version  int       `json:"version"`
	Complete bool      `json:"complete"`
	Problem  string    `json:"problem,omitempty"` // what does not verify
	By       []signing `json:"by"`
}

// signing is how far the keys of one root have signed another.
type signing struct {
	Roots     []int    `json:"roots"` // whose keys these are
	Threshold int      `json:"threshold"`
	Signed    []string `json:"signed"`
	Lacking   []string `json:"lacking"`
}

func rootVerifyCommand() *cobra.Command {
	var repo string
	var asJSON bool
	c := &cobra.Command{
		Use:   "verify [N]",
		Short: "Say who has signed the roots in trust/, or root N, and whether that is enough",
		Long: `Say who has signed each root in trust/, or root N, by the keys of the root before and by its own, and whether that is
enough. Exit codes: 0 all complete, 1 signatures are lacking, 3 something does not verify.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := loadTop(cmd.Context(), repo)
			if err != nil {
				return err
			}
			c, roots, err := openRoots(f, args)
			if err != nil {
				return err
			}
			all := []standing{}
			for _, r := range roots {
				all = append(all, c.standing(r))
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				err = tellStandings(cmd.OutOrStdout(), all)
			}
			if err != nil {
				return err
			}
			// What is asked about is worth no more than what it rests on.
			return (&Chain{roots: c.roots[:roots[len(roots)-1].version], names: c.names}).sound()
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (c *Chain) standing(r *Root) standing {
	s := standing{Version: r.version, Complete: r.Complete(), By: []signing{}}
	if r.fault != nil {
		s.Problem = r.fault.Error()
	}
	names := func(ids []string) []string {
		out := []string{}
		for _, id := range ids {
			out = append(out, c.name(id))
		}
		slices.Sort(out)
		return out
	}
	for _, q := range r.quorums {
		s.By = append(s.By, signing{q.by, q.threshold, names(q.signed), names(q.lacking)})
	}
	return s
}

func tellStandings(out io.Writer, all []standing) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, s := range all {
		state := "complete"
		switch {
		case s.Problem != "":
			state = "does not verify: " + s.Problem
		case !s.Complete:
			state = "lacks signatures"
		}
		fmt.Fprintf(w, "root %d: %s\n", s.Version, state)
		for _, by := range s.By {
			whose := fmt.Sprintf("keys of root %d", by.Roots[0])
			if len(by.Roots) == 2 {
				whose = fmt.Sprintf("keys of roots %d and %d", by.Roots[0], by.Roots[1])
			}
			fmt.Fprintf(w, "  %s\t%d of %d", whose, len(by.Signed), by.Threshold)
			if len(by.Signed) > 0 {
				fmt.Fprintf(w, "\tsigned: %s", strings.Join(by.Signed, ", "))
			}
			if len(by.Signed) < by.Threshold {
				fmt.Fprintf(w, "\tstill to sign: %s", strings.Join(by.Lacking, ", "))
			}
			fmt.Fprintln(w)
		}
	}
	return w.Flush()
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
