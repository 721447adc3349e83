package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// listOptions are the settings of `package list`.
type listOptions struct {
	desired.Where
	location, cacheDir string
}

// ListedPackage is a published package, as `package list --json` prints it.
type ListedPackage struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Platform schema.Platform `json:"platform"`
	Format   schema.Format   `json:"format"`
	Size     int64           `json:"size"`
	Hosts    []string        `json:"hosts"`
	SignedBy []string        `json:"signedBy"` // names of keys in the repository
	Unknown  []string        `json:"unknownKeys,omitempty"`
	// Accepted says whether every host can install it, whichever of its packages it runs now.
	Accepted bool      `json:"accepted"`
	Refused  []Refused `json:"refusedBy,omitempty"`
}

// Refused is why hosts would not install a package.
type Refused struct {
	Running schema.Digest `json:"running"` // the package whose updater says so
	Accepts string        `json:"accepts"` // such as "2 of old, new"
	Hosts   []string      `json:"hosts"`
}

func packageListCommand() *cobra.Command {
	var o listOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the published packages, who signed them, and which hosts would refuse one",
		Long: `Verifies the published release from the repository's roots, and lists each package with its hosts and the keys that signed
it. A host judges a package by the rules of the one that it runs: what is published now for it, or an older candidate. HOSTS
says "refused" if such a host would find too few signatures; the lines below say whose it would accept.`,
		Example: "  bakehouse package list\n  bakehouse package list --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listed, err := o.list(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if asJSON {
				return console.WriteJSON(cmd.OutOrStdout(), listed)
			}
			var b strings.Builder
			for _, l := range listed {
				b.WriteString(l.tell())
			}
			_, err = io.WriteString(cmd.OutOrStdout(), b.String())
			return err
		},
	}
	repoFlags(cmd, &o.Where)
	storeFlag(cmd, &o.location)
	cacheFlag(cmd, &o.cacheDir)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print an array of the packages, or the error, as JSON")
	return cmd
}

func (o listOptions) list(ctx context.Context, log io.Writer) ([]*ListedPackage, error) {
	head, err := desired.At(ctx, o.Where, desired.OpenCache(o.cacheDir, log))
	if err != nil {
		return nil, err
	}
	st, err := store.OpenExisting(ctx, o.location)
	if err != nil {
		return nil, err
	}
	published, err := publish.Read(ctx, st, head.Fleet, time.Now())
	if err != nil {
		return nil, err
	}
	before, err := desired.Earlier(ctx, head.Repo, releasedCommit(published), head.Cache)
	if err != nil {
		return nil, err
	}
	accepted := newAcceptance(st, head, before)
	byManifest := map[schema.Digest]*ListedPackage{}
	signed := map[schema.Digest]*signatures{}
	enough := map[[2]schema.Digest]bool{} // for the updater of one package (manifest) to install another
	listed := []*ListedPackage{}
	for a := range assignments(published) {
		l := byManifest[a.Manifest]
		if l == nil {
			m, err := readManifest(ctx, st, a.Manifest)
			if err != nil {
				return nil, err
			}
			s, err := signaturesOn(ctx, st, schema.StatementFor(m, a.Manifest), head.Fleet)
			if err != nil {
				return nil, err
			}
			l = &ListedPackage{Package: m.SHA256, Manifest: a.Manifest, Recipe: m.Recipe, Platform: m.Platform, Format: m.Format, Size: m.Size,
				SignedBy: s.by, Unknown: s.unknown, Accepted: true}
			byManifest[a.Manifest], signed[a.Manifest] = l, s
			listed = append(listed, l)
		}
		l.Hosts = append(l.Hosts, a.Host)
		for _, c := range a.Candidates() {
			by, err := accepted.of(ctx, c)
			if err != nil {
				return nil, err
			}
			pair := [2]schema.Digest{c.Manifest, a.Manifest}
			ok, known := enough[pair]
			if !known {
				ok = by.given(signed[a.Manifest])
				enough[pair] = ok
			}
			if !ok {
				l.refuse(c.SHA256, by, a.Host)
			}
		}
	}
	return listed, nil
}

func (l *ListedPackage) refuse(running schema.Digest, by *accepts, host string) {
	l.Accepted = false
	i := slices.IndexFunc(l.Refused, func(r Refused) bool { return r.Running == running })
	if i < 0 {
		i = len(l.Refused)
		l.Refused = append(l.Refused, Refused{Running: running, Accepts: by.String()})
	}
	l.Refused[i].Hosts = append(l.Refused[i].Hosts, host)
}

func (l *ListedPackage) tell() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s %s  %s  for %s\n  signed by %s\n", l.Package.Short(), l.Platform, l.Format, console.Size(l.Size), console.Hosts(l.Hosts),
		cmp.Or(strings.Join(l.SignedBy, ", "), "no key of the repository"))
	for _, id := range l.Unknown {
		fmt.Fprintf(&b, "  and key id %s, which is none of the repository's or did not make it\n", id)
	}
	for _, r := range l.Refused {
		which := "it runs " + r.Running.Short()
		if r.Running == l.Package {
			which = "once it runs this one"
		}
		fmt.Fprintf(&b, "  refused by %s if %s, which accepts %s: sign it with such a key (bakehouse reconcile --sign-only --key NAME)\n", console.Hosts(r.Hosts), which, r.Accepts)
	}
	return b.String()
}
