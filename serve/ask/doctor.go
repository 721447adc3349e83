package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/plain"
)

// Findings are what doctor prints.
type Findings struct {
	Findings []schema.Finding `json:"findings"`
}

// Doctor is `bakehouse doctor`.
func Doctor() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Print what a fleet needs in order to work, whether it is there, and how to fix what is not",
		Long: `Ask a server what its fleet needs in order to work, and print whether it is there and how to fix what
is not: signature keys and their expiry, packages, registered hosts, the master switch, the server's certificate, signed
metadata, store and database. What the commit's own check warns of is counted. The server's page prints the same.

A user needs the permission view; hosts that it does not cover do not count. The exit code is 1 if something is missing,
and 0 if all holds or something only ends soon.`,
		Example: `  bakehouse doctor --server https://bakehouse.example:8443 --user ops`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if t.server == "" {
				return fault.Hint(errors.New("no server is set"), "set it with --server URL and --user NAME")
			}
			return t.ask(c, func(ctx context.Context, a asked) error {
				var answer struct {
					Prerequisites []schema.Finding `json:"prerequisites"`
				}
				if err := a.(remote).client.do(ctx, http.MethodGet, "/status.json", nil, &answer); err != nil {
					return err
				}
				list := Findings{answer.Prerequisites}
				if t.json {
					if err := writeJSON(c.OutOrStdout(), list); err != nil {
						return err
					}
				} else if err := writeFindings(c.OutOrStdout(), list.Findings); err != nil {
					return err
				}
				return list.verdict()
			})
		},
	}
	t.connect(c)
	return c
}

func (l Findings) verdict() error {
	missing := 0
	for _, f := range l.Findings {
		if f.Level == schema.LevelMissing {
			missing++
		}
	}
	switch missing {
	case 0:
		return nil
	case 1:
		return fault.Hint(errors.New("1 thing is missing"), "it is listed above, with its fix")
	}
	return fault.Hint(fmt.Errorf("%d things are missing", missing), "they are listed above, each with its fix")
}

var marks = map[string]string{schema.LevelHolds: "ok", schema.LevelSoon: "soon", schema.LevelMissing: "missing"}

func writeFindings(w io.Writer, list []schema.Finding) error {
	for _, f := range list {
		mark, known := marks[f.Level]
		if !known {
			mark = plain.Line(f.Level, 10)
		}
		_, err := fmt.Fprintf(w, "%-8s %s: %s\n", mark, plain.Line(f.Title, 200), plain.Line(f.Detail, 300))
		if err != nil {
			return err
		}
		if f.Fix != "" {
			fmt.Fprintf(w, "         %s\n", plain.Line(f.Fix, 300))
		}
		if f.Command != "" {
			prompt := "$"
			if f.OnHost {
				prompt = "#"
			}
			fmt.Fprintf(w, "         %s %s\n", prompt, plain.Line(f.Command, 300))
		}
	}
	return nil
}
