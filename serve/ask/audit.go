package ask

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
	"bakehouse/serve/desk"
	"bakehouse/serve/inventory"
)

// Audit is `bakehouse audit`.
func Audit() *cobra.Command {
	var t target
	var since string
	c := &cobra.Command{
		Use:   "audit",
		Short: "Print who did what to registrations, tokens and the rollout, and from where",
		Long: fmt.Sprintf(`Print the audit log of a server: who registered, revoked, forgot or unregistered a host,
created or revoked a join token, acted on the rollout, or signed in; what was refused; and from where. Failed attempts
are summed up. No secret is in it. A user needs the permission audit, and sees events of the hosts that it covers.

A server keeps the last %d events of the last 400 days, and prints at most the last %d. With serve --audit-log,
each event also goes to a file or to syslog, as a line of JSON.
`, inventory.MaxEvents, desk.MaxEvents) + about,
		Example: `  bakehouse audit --since 24h --server https://bakehouse.example:8443 --user ops
  bakehouse audit --since 2030-01-02T15:04:05Z --json --database /var/lib/bakehouse-server/inventory.db`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			from, err := sinceWhen(since, time.Now())
			if err != nil {
				return err
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				list, err := a.events(ctx, from)
				switch {
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), list)
				case len(list.Events) == 0:
					fmt.Fprintf(c.ErrOrStderr(), "no events since %s\n", stamp(from))
					return nil
				}
				return writeEvents(c.OutOrStdout(), list.Events)
			})
		},
	}
	c.Flags().StringVar(&since, "since", "24h",
		"how long ago, such as 24h, or since when, such as 2030-01-02T15:04:05Z")
	t.flags(c)
	return c
}

// sinceWhen reads an age or a time.
func sinceWhen(s string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(s); err == nil && age >= 0 {
		return now.Add(-age), nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, nil
	}
	return time.Time{}, fault.Hint(fmt.Errorf("--since %.40q is neither an age nor a time", s),
		"want an age such as 24h, or a time such as 2030-01-02T15:04:05Z")
}

func writeEvents(w io.Writer, list []inventory.Event) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "AT\tWHAT\tWHO\tFROM\tOF\tDETAIL")
	for _, e := range list {
		of, detail := e.Host, plain.Line(e.Detail, 300)
		if of == "" {
			of = e.Token
		}
		if e.Count > 1 {
			detail += fmt.Sprintf(" (%d times)", e.Count)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", stamp(e.At), plain.Line(e.What, 40), plain.Line(e.Who, 80),
			plain.Line(e.From, 80), plain.Line(of, 80), detail)
	}
	return table.Flush()
}
