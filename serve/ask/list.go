package ask

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/hosts"
	"bakehouse/serve/view"
)

// aboutStates is the part of help that names the states.
const aboutStates = `
A host is in one state:

  up-to-date    it has what it may have
  updating      it may install something, and there is time left
  waiting       it may not install yet, by signed policy, a gate, or its own administrator
  not-known     its site is silent
  withheld      a server, a site or the network keeps it from its updates
  blocked       by its own condition, such as a full disk; it tries again by itself
  overdue       it is silent, or has not installed what it may for too long
  failed        a release was no good there; what ran before goes on
  rejected      something did not verify there; what ran before goes on
  unregistered  git has it, and it has not registered
  not-in-git    it is registered, and git does not have it
`

// lookFlags are those of commands that look at releases.
func (t *target) lookFlags(c *cobra.Command) {
	t.flags(c)
	c.Flags().StringVar(&t.store, "store", "store", "without --server: the store, `LOCATION` of what the server serves")
	settings.Trust(c.Flags(), "store")
}

func hostList() *cobra.Command {
	var t target
	var q hosts.Query
	limit := 0
	c := &cobra.Command{
		Use:   "list [WORD...]",
		Short: "Where the hosts of a fleet stand: those that match, with their states",
		Long: strings.TrimSpace(`
List hosts, those that need a person first, with what each runs and why it is in its state. On stderr is how many
match, by state.

A WORD matches the start of a host's name (* stands for anything), 4 or more hex digits the start of the hash of a
package that it has, downloaded or is meant to have, and any other word a part of its last error. All words have to
match. A filter that is given several times, or with commas, takes any of its values; of different filters all have to
match. --plugin and --file go by what is installed. A user needs the permission view, and sees the hosts that it covers.
` + aboutStates + about),
		Example: `  bakehouse host list --server https://bakehouse.example:8443 --user mia
  bakehouse host list 'web*' --state failed,rejected --store store --database store-inventory.db
  bakehouse host list --file /usr/bin/node_exporter@sha256:0a1b2c3d --limit 0 --json`,
		RunE: func(c *cobra.Command, args []string) error {
			q.Q = strings.Join(args, " ")
			if limit < 0 {
				return fault.Hint(fmt.Errorf("--limit %d is negative", limit), "0 is all")
			}
			if err := q.Check(); err != nil {
				return fault.Hint(err, "see bakehouse host list --help")
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				page, err := pages(ctx, a, q, limit)
				switch {
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), page)
				}
				if err := writeHosts(c.OutOrStdout(), page); err != nil {
					return err
				}
				writeSummary(c.ErrOrStderr(), page)
				return nil
			})
		},
	}
	f := c.Flags()
	f.StringSliceVar(&q.State, "state", nil, "in `STATE`")
	f.StringSliceVar(&q.Ring, "ring", nil, "in the ring `NAME`; none: in no ring")
	f.StringSliceVar(&q.Site, "site", nil, "of the site `NAME`")
	f.StringSliceVar(&q.Release, "release", nil, "that run release `N`; none: nothing of the fleet's")
	f.StringSliceVar(&q.Platform, "platform", nil, "of the platform `OS/ARCH`")
	f.StringSliceVar(&q.Package, "package", nil, "that are meant to have the package whose hash begins with `HEX`")
	f.StringSliceVar(&q.Code, "code", nil, "in their state by `CODE`, such as unhealthy or paused")
	f.StringSliceVar(&q.Agent, "agent", nil, "with that `VERSION` of the host program")
	f.StringSliceVar(&q.Plugin, "plugin", nil, "that have the plugin `NAME` installed")
	f.StringSliceVar(&q.File, "file", nil, "that have `PATH[@HASH]` installed, from a package")
	f.StringVar(&q.Sort, "sort", "", "`ORDER`: "+strings.Join(hosts.Sorts(),
		", ")+"; - before it reverses (default state)")
	f.IntVar(&limit, "limit", hosts.PageSize, "at most that many hosts; 0: all")
	t.lookFlags(c)
	return c
}

// pages asks for one page after another, until there are enough hosts or no more.
func pages(ctx context.Context, a asked, q hosts.Query, limit int) (*view.HostsPage, error) {
	var all view.HostsPage
	values := query(q)
	for {
		var page view.HostsPage
		if err := a.view(ctx, "/hosts", values, &page); err != nil {
			return nil, err
		}
		rows := append(all.Hosts, page.Hosts...)
		if all.Schema == 0 {
			all = page
		}
		if all.Hosts, all.Next = rows, page.Next; limit > 0 && len(rows) >= limit {
			all.Hosts = rows[:limit]
			return &all, nil
		}
		if page.Next == "" || len(page.Hosts) == 0 {
			return &all, nil
		}
		var err error
		if values, err = url.ParseQuery(page.Next); err != nil {
			return nil, fault.Hint(fmt.Errorf("the server's next page: %w", err), notOurs)
		}
	}
}

func query(q hosts.Query) url.Values {
	v := url.Values{}
	for name, list := range map[string][]string{"state": q.State, "ring": q.Ring, "site": q.Site, "release": q.Release,
		"platform": q.Platform, "package": q.Package, "code": q.Code, "agent": q.Agent, "plugin": q.Plugin,
		"file": q.File} {
		if len(list) > 0 {
			v[name] = list
		}
	}
	if q.Q != "" {
		v.Set("q", q.Q)
	}
	if q.Sort != "" {
		v.Set("sort", q.Sort)
	}
	return v
}

func writeHosts(w io.Writer, page *view.HostsPage) error {
	if len(page.Hosts) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tSTATE\tRING\tSITE\tRELEASE\tLAST CHECK\tWHY")
	for _, h := range page.Hosts {
		state := string(h.State)
		for _, m := range h.Marks {
			state += ", " + string(m)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, state, cmp.Or(h.Ring, "-"), cmp.Or(h.Site, "-"),
			number(h.Release), age(page.At, h.Checked), plain.Line(h.Why, hosts.MaxExcerpt))
	}
	return table.Flush()
}

// writeSummary says how many hosts match, by state.
func writeSummary(w io.Writer, page *view.HostsPage) {
	var parts []string
	for _, c := range page.Facets.State {
		if c.Hosts > 0 && (len(page.Query.State) == 0 || c.Active) {
			parts = append(parts, fmt.Sprintf("%d %s", c.Hosts, c.Value))
		}
	}
	text := fmt.Sprintf("%d of %d hosts match", page.Matched, page.Total)
	if page.NotInGit > 0 {
		text = fmt.Sprintf("%d match, of %d hosts and %d that git does not have", page.Matched, page.Total,
			page.NotInGit)
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	fmt.Fprintln(w, text)
	if more := page.Matched - len(page.Hosts); more > 0 {
		fmt.Fprintf(w, "%d more are not listed; all: --limit 0\n", more)
	}
	if page.Off {
		fmt.Fprintln(w, "updates are off for the whole fleet, by the master switch")
	}
	if page.Trouble != "" {
		fmt.Fprintln(w, plain.Line(page.Trouble, plain.MaxError))
	}
}

// number of a release.
func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

// age is how long ago something was, by the server's clock.
func age(now, at time.Time) string {
	d := now.Sub(at).Round(time.Second)
	switch {
	case at.IsZero():
		return "never"
	case d < 0:
		return "0 s ago"
	case d < 90*time.Second:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < 90*time.Minute:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 36*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func hostShow() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Where one host stands: its state, why, and what to do",
		Long: strings.TrimSpace(`
Show one host: its state, since when and why, what comes next, what to do, the questions that decide what it may
install, and what it reports. What a host claims of itself is marked so. A user needs the permission view for the host.
` + aboutStates + about),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := schema.CheckHostName(args[0]); err != nil {
				return err
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				var h view.Host
				switch err := a.view(ctx, "/hosts/"+args[0], nil, &h); {
				case errors.Is(err, fs.ErrNotExist):
					return fault.Hint(fmt.Errorf("neither git nor a registration has a host %s", args[0]),
						"see bakehouse host list")
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), &h)
				}
				return writeHost(c.OutOrStdout(), &h)
			})
		},
	}
	t.lookFlags(c)
	return c
}

func writeHost(w io.Writer, h *view.Host) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, plain.Line(value, plain.MaxError))
		}
	}
	state := h.State.Word()
	if !h.Since.IsZero() {
		state += ", since " + stamp(h.Since)
	}
	for _, m := range h.Marks {
		state += ", " + string(m)
	}
	line("host", h.Name)
	line("state", state)
	line("why", h.Why)
	line("next", h.Detail)
	for _, s := range h.Steps {
		text := s.Text
		if s.Command != "" {
			text += ": " + s.Command
		}
		line("to do", text)
	}
	line("site, ring", strings.Trim(h.Site+", "+h.Ring, ", "))
	line("target", packageOf(h.Target, h.TargetRelease))
	line("installed", packageOf(h.Installed, h.Release))
	line("last check", age(h.At, h.Checked))
	if !h.Updated.IsZero() {
		line("last update", stamp(h.Updated)+", it says")
	}
	line("platform", strings.Trim(h.Platform.String()+", host program "+h.Program, ", "))
	if r := h.Registration; r != nil {
		line("registered", stamp(r.At)+" by "+r.User)
	}
	line("error", h.Error)
	if err := table.Flush(); err != nil {
		return err
	}
	for i, d := range h.Decision {
		if i == 0 {
			fmt.Fprintln(w, "\nwhat decides, in this order; the first no is the answer:")
		}
		text := d.Text
		if d.Detail != "" {
			text += ": " + plain.Line(d.Detail, plain.MaxError)
		}
		fmt.Fprintf(w, "  %-9s %s\n", d.Answer, text)
	}
	for i, p := range h.History {
		if i == 0 {
			fmt.Fprintln(w, "\nbefore:")
		}
		fmt.Fprintf(w, "  %s  %s, release %s  %s\n", stamp(p.At), p.State, number(p.Release), plain.Line(p.Text, 200))
	}
	return nil
}

func packageOf(d schema.Digest, release int64) string {
	if d.IsZero() {
		return "nothing of the fleet's"
	}
	return d.Short() + ", release " + number(release)
}

// Release is `bakehouse release`.
func Release() *cobra.Command {
	c := &cobra.Command{
		Use:   "release",
		Short: "The releases that hosts run or are given, as a server has them",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(releaseList(), releaseShow())
	return c
}

func releaseList() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "list",
		Short: "List the releases that hosts run or are given, the newest first",
		Long: strings.TrimSpace(`
List the releases that hosts run or are given, the newest first, with how many hosts run each. A user needs the
permission view, and counts the hosts that it covers.
` + about),
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.ask(c, func(ctx context.Context, a asked) error {
				var list view.Releases
				if err := a.view(ctx, "/releases", nil, &list); err != nil {
					return err
				}
				if t.json {
					return writeJSON(c.OutOrStdout(), &list)
				}
				table := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(table, "RELEASE\tHOSTS THAT RUN IT\tROLLOUT\tPUBLISHED\tCOMMIT\tSUBJECT")
				for _, r := range list.Releases {
					rollout := r.Rollout
					if r.Text != "" {
						rollout += ": " + r.Text
					}
					published := "-"
					if !r.Issued.IsZero() {
						published = stamp(r.Issued)
					}
					fmt.Fprintf(table, "%d\t%d\t%s\t%s\t%s\t%s\n", r.Number, r.Hosts, rollout, published,
						cmp.Or(r.Commit[:min(len(r.Commit), 12)], "-"), plain.Line(r.Subject, 80))
				}
				return table.Flush()
			})
		},
	}
	t.lookFlags(c)
	return c
}

func releaseShow() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "show N",
		Short: "Show one release: its commit, what it changes, and its packages",
		Long: strings.TrimSpace(`
Show a release that hosts run or are given: its commit, what it changes, and the packages that came with it, the
most used first. What a commit says is known of the newest release only. A user needs the permission view.
` + about),
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if n, err := strconv.ParseInt(args[0], 10, 64); err != nil || n < 1 {
				return fault.Hint(fmt.Errorf("%.40q is not the number of a release", args[0]),
					"see bakehouse release list")
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				var r view.Release
				switch err := a.view(ctx, "/releases/"+args[0], nil, &r); {
				case errors.Is(err, fs.ErrNotExist):
					return fault.Hint(fmt.Errorf("no host runs or is given release %s", args[0]),
						"see bakehouse release list")
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), &r)
				}
				return writeRelease(c.OutOrStdout(), &r)
			})
		},
	}
	t.lookFlags(c)
	return c
}

func writeRelease(w io.Writer, r *view.Release) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "release\t%d\n", r.Number)
	if r.Commit != "" {
		fmt.Fprintf(table, "commit\t%s %s\n", r.Commit, plain.Line(r.Subject, 200))
		fmt.Fprintf(table, "author\t%s\n", plain.Line(r.Author, 200))
		fmt.Fprintf(table, "published\t%s\n", stamp(r.Issued))
	}
	fmt.Fprintf(table, "rollout\t%s\n", strings.TrimSuffix(r.Rollout+": "+r.Text, ": "))
	fmt.Fprintf(table, "hosts that run it\t%d\n", r.Hosts)
	for _, change := range r.Changes {
		fmt.Fprintf(table, "changes\t%s\n", change)
	}
	for _, p := range r.Packages {
		fmt.Fprintf(table, "package\t%s for %d hosts, %s %s, %d bytes\n", p.SHA256.Short(), p.Hosts, p.Platform,
			p.Format,
			p.Size)
	}
	return table.Flush()
}
