package ask

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// HostVerbs are those of `bakehouse host` that ask a server.
func HostVerbs() []*cobra.Command {
	return []*cobra.Command{
		hostList(),
		hostShow(),
		hostVerb("revoke", "revoked", "Revoke a host's registration: its secret counts no longer",
			`Revoke a host's registration: its secret counts no longer, and the host is told so at its next poll.
What is installed on it stays and runs on; it is not updated any more. What is known of the host stays, too, until host
forget. It can be registered again by whoever may register it. A user needs the permission revoke for the host.
`, asked.revoke),
		hostVerb("forget", "forgotten", "Forget a host: its registration and what is known of it",
			`Forget a host: its registration and all that the server knows of it, such as its last report. If it
still polls, it is refused. A user needs the permission revoke for the host.
`, asked.forget),
	}
}

func hostVerb(verb, done, short, long string, do func(asked, context.Context, string) error) *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long:  long + about,
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return t.ask(c, func(ctx context.Context, a asked) error {
				return t.done(c, do(a, ctx, args[0]), result{Host: args[0], Done: done})
			})
		},
	}
	t.flags(c)
	return c
}

// result is what was done.
type result struct {
	Host  string `json:"host,omitempty"`
	Token string `json:"token,omitempty"`
	Done  string `json:"done"`
}

// done prints r, unless it failed.
func (t *target) done(c *cobra.Command, err error, r result) error {
	switch {
	case err != nil:
		return err
	case t.json:
		return writeJSON(c.OutOrStdout(), r)
	}
	what := "host " + r.Host
	if r.Token != "" {
		what = "token " + r.Token
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "%s: %s\n", what, r.Done)
	return err
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
