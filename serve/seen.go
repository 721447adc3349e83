package serve

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
)

// seenCommand is `bakehouse serve seen`.
func seenCommand() *cobra.Command {
	var database string
	var asJSON bool
	c := &cobra.Command{
		Use:   "seen",
		Short: "Print the highest timestamp version that a host has reported",
		Long: strings.TrimSpace(`
Print the highest timestamp version that a host has reported, for reconcile recover. The hosts that are ahead are
listed beside it: one that claims far more than the others may not be telling the truth.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if _, err := os.Stat(database); err != nil {
				return fault.Hint(fmt.Errorf("database: %w", err), "name the server's with --database")
			}
			db, err := inventory.Open(cmd.Context(), database)
			if err != nil {
				return err
			}
			defer db.Close() // nothing was written
			ahead, err := db.Ahead(cmd.Context(), 5)
			if err != nil {
				return err
			}
			if len(ahead) == 0 {
				return fault.Hint(fmt.Errorf("database %s: no host has reported yet", database),
					"look on a host: bakehouse-agent status")
			}
			if asJSON {
				return writeSeen(cmd.OutOrStdout(), ahead)
			}
			for _, h := range ahead {
				fmt.Fprintf(cmd.ErrOrStderr(), "%s\ttimestamp %d, root %d, at %s\n", h.Host, h.Seen.Timestamp, h.Seen.Root,
					h.Seen.At.Format(time.RFC3339))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), ahead[0].Seen.Timestamp)
			return err
		},
	}
	c.Flags().StringVar(&database, "database", "inventory.db", "`FILE` with registrations and reports")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result, or the error, as JSON")
	settings.Trust(c.Flags(), "database")
	settings.Setting(c.Flags(), "json")
	return c
}

// writeSeen prints the hosts that are ahead as JSON, the one with the highest timestamp first.
func writeSeen(w io.Writer, ahead []inventory.Host) error {
	type host struct {
		Host      string    `json:"host"`
		Timestamp int64     `json:"timestamp"`
		Root      int64     `json:"root"`
		At        time.Time `json:"at"`
	}
	result := struct {
		Timestamp int64  `json:"timestamp"`
		Hosts     []host `json:"hosts"`
	}{Timestamp: ahead[0].Seen.Timestamp}
	for _, h := range ahead {
		result.Hosts = append(result.Hosts, host{h.Host, h.Seen.Timestamp, h.Seen.Root, h.Seen.At})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}
