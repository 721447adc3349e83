package ask

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/schema/plain"
	"bakehouse/serve/desk"
	"bakehouse/serve/token"
)

// Token is `bakehouse token`.
func Token() *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "Join tokens, by which hosts register without a user's password",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(tokenCreate(), tokenList(), tokenRevoke())
	return c
}

func tokenCreate() *cobra.Command {
	var t target
	var s token.Spec
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "create",
		Short: "Create a join token and print it, once",
		Long: `Create a join token and print it on stdout. It is kept nowhere: the server has a hash of it.

Whoever has it registers hosts with bakehouse-agent register --token FILE: as many as --uses, until --ttl is over, and
only those that --hosts, --site and --ring name. It never allows more than its creator may: a user needs the permissions
token and register, and the hosts of both bound the token at each use, also later. If the user is removed or loses one
of them, the token counts no longer.

A host that is registered and polls keeps its registration, unless the token has --replace, for which its creator needs
the permission revoke as well.

A server refuses a token that is for no host of its fleet, so that a typo is noticed. By the database alone, nothing is
known of the fleet: sites, rings and hosts are not checked then.
` + about,
		Example: `  bakehouse token create --uses 50 --ttl 2h --server https://bakehouse.example:8443 --user ops
  bakehouse token create --hosts '~web.*' --site north --server https://bakehouse.example:8443 --user ops
  bakehouse token create --database /var/lib/bakehouse-server/inventory.db > join.token`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.TTL = ttl.String()
			return t.ask(c, func(ctx context.Context, a asked) error {
				made, err := a.create(ctx, s)
				if err != nil {
					return err
				}
				if t.json {
					return writeJSON(c.OutOrStdout(), made)
				}
				fmt.Fprintf(c.ErrOrStderr(), "token %s: %s\n", made.ID, summary(made.Token))
				_, err = fmt.Fprintln(c.OutOrStdout(), made.Secret)
				return err
			})
		},
	}
	f := c.Flags()
	f.IntVar(&s.Uses, "uses", 1, "how many registrations it is good for")
	f.DurationVar(&ttl, "ttl", time.Hour, "how long it is good for")
	f.StringArrayVar(&s.Hosts, "hosts", nil, "`PATTERN` of the hosts it is for: a name, or ~ and a regular expression "+
		"for whole names; may be repeated (default: all that its creator may register)")
	f.StringVar(&s.Site, "site", "", "only hosts of that site")
	f.StringVar(&s.Ring, "ring", "", "only hosts of that ring")
	f.BoolVar(&s.Replace, "replace", false, "also in the place of registrations that hosts poll with")
	t.flags(c)
	return c
}

// summary is a token's bounds in words.
func summary(t desk.Token) string {
	s := fmt.Sprintf("%d of %d uses left until %s", t.Uses-t.Used, t.Uses, stamp(t.Expires))
	if bounds := boundsOf(t); bounds != "" {
		s += ", " + bounds
	}
	if t.Covers != nil {
		s += fmt.Sprintf("; %d hosts of the fleet now", *t.Covers)
	}
	return s
}

func boundsOf(t desk.Token) string {
	var list []string
	if len(t.Hosts) > 0 {
		list = append(list, "hosts "+strings.Join(t.Hosts, " "))
	}
	if t.Site != "" {
		list = append(list, "site "+t.Site)
	}
	if t.Ring != "" {
		list = append(list, "ring "+t.Ring)
	}
	if t.Replace {
		list = append(list, "replaces")
	}
	return plain.Line(strings.Join(list, ", "), 200)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

func tokenList() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "list",
		Short: "List join tokens, without their secrets",
		Long: `List join tokens, the last created first. An expired one is listed for 30 more days. A token is valid,
used-up, expired, revoked, or void: its creator is no user any more, or has lost a permission that it needs.
` + about,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.ask(c, func(ctx context.Context, a asked) error {
				list, err := a.tokens(ctx)
				switch {
				case err != nil:
					return err
				case t.json:
					return writeJSON(c.OutOrStdout(), list)
				case len(list.Tokens) == 0:
					fmt.Fprintln(c.ErrOrStderr(), "no join tokens")
					return nil
				}
				return writeTokens(c.OutOrStdout(), list.Tokens)
			})
		},
	}
	t.flags(c)
	return c
}

func writeTokens(w io.Writer, list []desk.Token) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tUSED\tEXPIRES\tBY\tFOR")
	for _, t := range list {
		bounds := boundsOf(t)
		if bounds == "" {
			bounds = "all that its creator may register"
		}
		fmt.Fprintf(table, "%s\t%s\t%d/%d\t%s\t%s\t%s\n", plain.Line(t.ID, 40), plain.Line(t.State, 40), t.Used, t.Uses,
			stamp(t.Expires), plain.Line(t.User, 80), bounds)
	}
	return table.Flush()
}

func tokenRevoke() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a join token: it registers no further host",
		Long: `Revoke a join token: it registers no further host. Hosts that registered by it stay registered.
` + about,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.ask(c, func(ctx context.Context, a asked) error {
				return t.done(c, a.revokeToken(ctx, args[0]), result{Token: args[0], Done: "revoked"})
			})
		},
	}
	t.flags(c)
	return c
}
