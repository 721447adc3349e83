package sign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fleet"
)

// RootCommand is `bakehouse root`.
func RootCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "root",
		Short: "Make and show the root of trust",
		Long: `Make and show the root of trust.

The root says which keys may sign which role. It stands in trust/N.root.json in the fleet repo, so that changing it is
a reviewed change, and the anchor (the first one, unless fleet.cue names another) is part of every package.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(rootInitCommand(), rootShowCommand())
	return c
}

func rootInitCommand() *cobra.Command {
	var repo, keyDir, passFile string
	var bins int
	c := &cobra.Command{
		Use:   "init",
		Short: "Make trust/1.root.json from the uses of the keys",
		Long: `Make trust/1.root.json from the uses of the keys in keys/, and sign it with a key that has the use root.

The number of bins is fixed for the fleet's life. A host reads one bin: about a hundred hosts per bin is right, so 64
are good for ten thousand hosts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			path := filepath.Join(repo, "trust", "1.root.json")
			b, err := initRoot(f, OpenKeys(f, keyDir, Passphrases(passFile)), path, bins, time.Now())
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: the root of trust of fleet %s (commit it)\n", path, f.Name)
			fmt.Fprintln(cmd.OutOrStdout(), schema.DigestOf(b))
			return nil
		},
	}
	keyFlags(c, &repo, &keyDir)
	c.Flags().StringVar(&passFile, "passphrase-file", "", "file whose first line is the passphrase")
	c.Flags().IntVar(&bins, "bins", 64, "number of hashed bins, a power of two")
	return c
}

// initRoot writes the first root to path, which must not exist, and returns its bytes.
func initRoot(f *fleet.Fleet, keys *Keyring, path string, bins int, now time.Time) ([]byte, error) {
	there, err := exists(path)
	if err != nil {
		return nil, err
	}
	if there || len(f.Roots) > 0 {
		return nil, schema.Hint(fmt.Errorf("%s exists", path), "hosts know this root; it is never made again")
	}
	root, err := newRoot(f, 1, bins, now)
	if err != nil {
		return nil, err
	}
	if _, err := signRole(root, root.Signed.Roles[metadata.ROOT], f, keys); err != nil {
		return nil, fmt.Errorf("root: %w", err)
	}
	b, err := root.ToBytes(true) // for people to review
	if err != nil {
		return nil, err
	}
	b = append(b, '\n')
	if _, err := trust.ParseRoot(b); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return b, durable.Create(path, bytes.NewReader(b), 0o644)
}

// rootInfo is what `root show` prints of a root.
type rootInfo struct {
	Version int64         `json:"version"`
	Fleet   string        `json:"fleet"`
	Bins    int           `json:"bins"`
	Expires time.Time     `json:"expires"`
	Digest  schema.Digest `json:"digest"`
	Anchor  bool          `json:"anchor"`
	Roles   []roleInfo    `json:"roles"`
}

type roleInfo struct {
	Role      string   `json:"role"`
	Threshold int      `json:"threshold"`
	Keys      []string `json:"keys"` // names, or key ids that no key in keys/ has
}

func rootShowCommand() *cobra.Command {
	var repo string
	var asJSON bool
	c := &cobra.Command{
		Use:   "show",
		Short: "Verify the chain of roots and show it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			infos, err := showRoots(f)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(infos)
			}
			return printRoots(cmd.OutOrStdout(), infos)
		},
	}
	c.Flags().StringVar(&repo, "repo", ".", "work tree of the fleet repo")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func showRoots(f *fleet.Fleet) ([]rootInfo, error) {
	if len(f.Roots) == 0 {
		return nil, schema.Hint(fmt.Errorf("the repo has no trust/1.root.json"), "make it: bakehouse root init")
	}
	names := map[string]string{}
	for _, key := range sortedKeys(f) {
		id, err := keyID(key)
		if err != nil {
			return nil, err
		}
		names[id] = key.Name
	}
	var infos []rootInfo
	for i, b := range f.Roots {
		root, err := trust.VerifyRoots(f.Roots[:i+1])
		if err != nil {
			return nil, fmt.Errorf("trust/: %w", err)
		}
		info, _ := trust.Info(root)
		r := rootInfo{Version: root.Signed.Version, Fleet: info.Fleet, Bins: info.Bins, Expires: root.Signed.Expires,
			Digest: schema.DigestOf(b), Anchor: i+1 == f.AnchorVersion}
		for _, role := range roles {
			ri := roleInfo{Role: role, Threshold: root.Signed.Roles[role].Threshold}
			for _, id := range root.Signed.Roles[role].KeyIDs {
				name := names[id]
				if name == "" {
					name = id
				}
				ri.Keys = append(ri.Keys, name)
			}
			r.Roles = append(r.Roles, ri)
		}
		infos = append(infos, r)
	}
	return infos, nil
}

func printRoots(out io.Writer, infos []rootInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, r := range infos {
		if i > 0 {
			fmt.Fprintln(w)
		}
		anchor := ""
		if r.Anchor {
			anchor = " (anchor)"
		}
		fmt.Fprintf(w, "root %d%s\n", r.Version, anchor)
		fmt.Fprintf(w, "fleet\t%s\nbins\t%d\nexpires\t%s\ndigest\t%s\n", r.Fleet, r.Bins, r.Expires.Format(time.RFC3339), r.Digest)
		for _, role := range r.Roles {
			fmt.Fprintf(w, "%s\t%d of %s\n", role.Role, role.Threshold, strings.Join(role.Keys, ", "))
		}
	}
	return w.Flush()
}
