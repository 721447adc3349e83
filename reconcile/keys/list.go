package keys

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/spf13/cobra"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Info is what is known of a key here, as `key list --json` prints it.
type Info struct {
	Name      string     `json:"name"`
	Uses      []string   `json:"uses"`
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	Private   string     `json:"private"` // file in the key folder, or URI
	Expires   *time.Time `json:"expires,omitempty"`
	Retired   *time.Time `json:"retired,omitempty"`
	Certified bool       `json:"certified,omitempty"` // the repo holds its certificate
	State     string     `json:"state"`               // a State… constant
	Why       string     `json:"why,omitempty"`       // it is not usable
	Expiry    string     `json:"expiry,omitempty"`    // a schema.Key… constant
	Public    string     `json:"public"`              // PEM
}

func keyListCommand() *cobra.Command {
	var access Access
	var repo string
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the fleet's keys, and which of them can sign here",
		Long: `List the fleet's keys, and which of them can sign here. Neither is a passphrase asked for nor a key service called.

States: usable; elsewhere (its private half is not on this machine); corrupt; exposed (others can read its file); not yet valid;
expired; retired. EXPIRES says "expiring" or "critical" from when keyExpiry in fleet.cue has it (default 90 and 30 days before).`,
		Example: "  bakehouse key list\n  bakehouse key list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := loadFleet(cmd.Context(), repo)
			if err != nil {
				return err
			}
			ring, err := access.Open(cmd.Context(), f, repo)
			if err != nil {
				return err
			}
			infos := []Info{}
			for _, key := range Sorted(f) {
				info, err := ring.info(key, f.KeyExpiry)
				if err != nil {
					return err
				}
				infos = append(infos, info)
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), infos)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tUSES\tTYPE\tID\tEXPIRES\tSTATE")
			for _, i := range infos {
				fmt.Fprintf(w, "%s\t%s\t%s\t%.16s\t%s\t%s\n", i.Name, strings.Join(i.Uses, ","), i.Type, i.ID, i.until(), i.State)
			}
			return w.Flush()
		},
	}
	repoFlag(c, &repo)
	c.Flags().StringVar(&access.dir, "key-dir", DefaultDir(), "folder of the private halves of keys")
	access.pluginFlag(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (k *Keyring) info(key *fleet.Key, expiry schema.KeyExpiry) (Info, error) {
	info := Info{Name: key.Name, Uses: key.Uses, Private: cmp.Or(key.Private, FileName(key.Name)), Certified: key.Certificate != "", Public: key.Public}
	pub, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(key.Public))
	if err != nil {
		return info, fmt.Errorf("key %s: public half: %w", key.Name, err)
	}
	info.Type = keyType(pub)
	if info.ID, err = trust.KeyID(pub); err != nil {
		return info, err
	}
	if !key.Expires.IsZero() {
		info.Expires = &key.Expires
		info.Expiry = expiry.Of(key.Expires, k.Now())
	}
	if !key.Retired.IsZero() {
		info.Retired = &key.Retired
	}
	info.State, err = k.inspect(key)
	if err != nil {
		info.Why = err.Error()
	}
	return info, nil
}

// keyType names the type of a public key, as --type has it.
func keyType(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ecdsa-p256" // no other curve is accepted
	case *rsa.PublicKey:
		return fmt.Sprintf("rsa-%d", k.N.BitLen())
	}
	return "ed25519"
}

func (i *Info) until() string {
	if i.Expires == nil {
		return "never"
	}
	until := i.Expires.Format(time.DateOnly)
	if i.Expiry == schema.KeyExpiring || i.Expiry == schema.KeyCritical {
		until += " (" + i.Expiry + ")"
	}
	return until
}

// tell is i for people, without the public half.
func (i *Info) tell(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	row("key", i.Name)
	row("uses", strings.Join(i.Uses, ", "))
	row("type", i.Type)
	row("id", i.ID)
	row("private half", i.Private)
	row("expires", i.until())
	if i.Retired != nil {
		row("retired", i.Retired.Format(time.RFC3339))
	}
	row("state", i.State)
	if i.Why != "" {
		row("why", i.Why)
	}
	return w.Flush()
}
