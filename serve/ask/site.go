package ask

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// Site is `bakehouse site`.
func Site() *cobra.Command {
	c := &cobra.Command{
		Use:   "site",
		Short: "Where the sites of a fleet stand: their servers and hosts",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(siteList(), siteShow())
	return c
}

// Sites are what site list prints.
type Sites struct {
	Schema    int         `json:"schema"`
	At        time.Time   `json:"at"`        // as of: the server's clock
	Timestamp int64       `json:"timestamp"` // that the centre serves
	Sites     []view.Site `json:"sites"`
}

// aboutSites is the part of help on what is known of a site.
const aboutSites = `
A remote site says of itself, each few seconds, which metadata it serves, how many reports of its hosts it has not
passed on, and what it keeps for its hosts. It is silent if the centre has not heard of it for two minutes: its hosts
are not-known then, as of the last contact, and count neither as up to date nor as overdue. A user needs the permission
view, and sees the hosts that it covers.
`

func siteList() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "list",
		Short: "List the sites: hosts, metadata, last contact, reports waiting, program",
		Long: strings.TrimSpace(`
List the sites of a fleet: how many hosts each has and how many are up to date, whether its metadata are those of the
centre, when it was last heard of, how many reports wait there, and its program.
` + aboutSites + about),
		Example: `  bakehouse site list --server https://bakehouse.example:8443 --user mia
  bakehouse site list --store store --database store-inventory.db --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.sites(c, func(list *Sites) error {
				if t.json {
					return writeJSON(c.OutOrStdout(), list)
				}
				return writeSites(c.OutOrStdout(), list)
			})
		},
	}
	t.lookFlags(c)
	return c
}

func siteShow() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Where one site stands: its server, its cache, its reports, its hosts by state",
		Long:    strings.TrimSpace("\nShow one site, with all that is known of its server.\n" + aboutSites + about),
		Example: `  bakehouse site show nyc --server https://bakehouse.example:8443 --user mia`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.sites(c, func(list *Sites) error {
				i := slices.IndexFunc(list.Sites, func(s view.Site) bool { return s.Name == args[0] })
				switch {
				case i < 0:
					return fault.Hint(fmt.Errorf("the fleet has no site %.80q", args[0]), "see bakehouse site list")
				case t.json:
					return writeJSON(c.OutOrStdout(), list.Sites[i])
				}
				return writeSite(c.OutOrStdout(), &list.Sites[i], list)
			})
		},
	}
	t.lookFlags(c)
	return c
}

// sites asks for all sites.
func (t *target) sites(c *cobra.Command, do func(*Sites) error) error {
	return t.ask(c, func(ctx context.Context, a asked) error {
		var o view.Overview
		if err := a.view(ctx, "/status", nil, &o); err != nil {
			return err
		}
		return do(&Sites{Schema: o.Schema, At: o.At, Timestamp: o.Timestamp, Sites: o.Sites})
	})
}

func writeSites(w io.Writer, list *Sites) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SITE\tHOSTS\tUP TO DATE\tNOT KNOWN\tMETADATA\tLAST CONTACT\tWAITING\tPROGRAM")
	for _, s := range list.Sites {
		waiting := "-"
		if s.Reports != nil {
			waiting = fmt.Sprint(*s.Reports)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", plain.Line(s.Name, 64), s.Tally.Total,
			s.Tally.Of(hosts.UpToDate), s.Tally.Of(hosts.NotKnown), metadataOf(&s), age(list.At, s.Contact), waiting,
			cmp.Or(plain.Line(s.Program, 64), "-"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, s := range list.Sites {
		if s.Problem != "" {
			fmt.Fprintf(w, "%s: %s\n", plain.Line(s.Name, 64), plain.Line(s.Problem, plain.MaxError))
		}
	}
	return nil
}

// metadataOf is how far a site's metadata are.
func metadataOf(s *view.Site) string {
	switch {
	case s.Timestamp == 0:
		return "-"
	case s.Silent:
		return fmt.Sprintf("%d when last heard of", s.Timestamp)
	case s.Behind > 0:
		return fmt.Sprintf("%d, %d behind", s.Timestamp, s.Behind)
	}
	return fmt.Sprintf("%d, in step", s.Timestamp)
}

func writeSite(w io.Writer, s *view.Site, list *Sites) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, plain.Line(value, plain.MaxError))
		}
	}
	line("site", s.Name)
	line("url", s.URL)
	switch {
	case s.Silent:
		line("state", "silent: its hosts are not known")
	case s.Contact.IsZero():
		line("state", "never heard of")
	default:
		line("state", "heard of")
	}
	line("problem", s.Problem)
	contact := age(list.At, s.Contact)
	if s.Address != "" {
		contact += ", from " + s.Address
	}
	line("last contact", contact)
	line("metadata", metadataOf(s))
	line("program", s.Program)
	if s.Speaks != nil {
		line("speaks", s.Speaks.String())
	}
	if c := s.Cache; c != nil {
		line("cache", fmt.Sprintf("%s of %s, %d objects; %d asked for here, %d fetched since it started",
			size(c.Bytes), size(c.Limit), c.Objects, c.Hits, c.Misses))
	}
	if s.Reports != nil {
		text := fmt.Sprint(*s.Reports)
		if *s.Reports > 0 && !s.Oldest.IsZero() {
			text += ", the oldest of " + s.Oldest.UTC().Format(time.RFC3339)
		}
		line("reports waiting", text)
	}
	if s.Superseded > 0 {
		line("reports dropped", fmt.Sprintf("%d, for later ones of the same hosts", s.Superseded))
	}
	if s.Passwords {
		line("passwords", "users may type theirs there")
	}
	var states []string
	for _, c := range s.Tally.States {
		if c.Hosts > 0 {
			states = append(states, fmt.Sprintf("%d %s", c.Hosts, c.State))
		}
	}
	line("hosts", strings.TrimSuffix(fmt.Sprintf("%d: %s", s.Tally.Total, strings.Join(states, ", ")), ": "))
	if s.Name != schema.CentralSite && s.Tally.Total > 0 {
		line("see them", "bakehouse host list --site "+s.Name)
	}
	return table.Flush()
}

// size of bytes, for people.
func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d bytes", n)
	case n < 10_000_000:
		return fmt.Sprintf("%d kB", n/1000)
	case n < 10_000_000_000:
		return fmt.Sprintf("%d MB", n/1_000_000)
	}
	return fmt.Sprintf("%d GB", n/1_000_000_000)
}
