package ask

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
	"bakehouse/serve/startup"
)

// Seen is `bakehouse serve seen`.
func Seen() *cobra.Command {
	var database, storeAt string
	var asJSON bool
	c := &cobra.Command{
		Use:   "seen",
		Short: "Print the highest timestamp version that this server has served",
		Long: strings.TrimSpace(`
Print the highest timestamp version that this server has served, for reconcile recover. What hosts report is not
counted: any of them could make up a number. Those that claim to have verified a higher one are listed on stderr. That
can be true if the fleet has another server, or if the database was restored from a backup.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if database == "" {
				if database, err = startup.Database(storeAt); err != nil {
					return err
				}
			}
			if !inventory.IsPostgreSQL(database) {
				if _, err := os.Stat(strings.TrimPrefix(database, "sqlite:")); err != nil {
					return fault.Hint(fmt.Errorf("database: %w", err), "name the server's with --database")
				}
			}
			db, err := inventory.Open(cmd.Context(), database)
			if err != nil {
				return err
			}
			defer db.Close() // nothing was written
			served, err := db.Served(cmd.Context(), schema.Digest{})
			if err != nil {
				return err
			}
			ahead, err := db.Ahead(cmd.Context(), served.Timestamp, 5)
			if err != nil {
				return err
			}
			for _, h := range ahead {
				fmt.Fprintf(cmd.ErrOrStderr(),
					"%s claims timestamp %d, root %d, at %s; this server has not served it\n", h.Host,
					h.Seen.Timestamp, h.Seen.Root, h.Seen.At.Format(time.RFC3339))
			}
			if served.Timestamp == 0 {
				return fault.Hint(fmt.Errorf("database %s: the server has served nothing yet",
					inventory.Name(database)),
					"look on a host: bakehouse-agent status")
			}
			if asJSON {
				return writeSeen(cmd.OutOrStdout(), served, ahead)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), served.Timestamp)
			return err
		},
	}
	c.Flags().StringVar(&database, "database", "",
		"`LOCATION` of registrations and reports (default STORE-inventory.db)")
	c.Flags().StringVar(&storeAt, "store", "store", "the store: `LOCATION` of what the server serves")
	c.Flags().BoolVar(&asJSON, "json", false, "print the result, or the error, as JSON")
	settings.Trust(c.Flags(), "database", "store")
	settings.Setting(c.Flags(), "json")
	return c
}

// writeSeen prints what was served and the hosts that claim to be ahead of it as JSON.
func writeSeen(w io.Writer, served inventory.Served, ahead []inventory.Host) error {
	type host struct {
		Host      string    `json:"host"`
		Timestamp int64     `json:"timestamp"`
		Root      int64     `json:"root"`
		At        time.Time `json:"at"`
	}
	result := struct {
		Timestamp int64     `json:"timestamp"`
		At        time.Time `json:"at"`
		Ahead     []host    `json:"ahead"`
	}{served.Timestamp, served.At, []host{}}
	for _, h := range ahead {
		result.Ahead = append(result.Ahead, host{h.Host, h.Seen.Timestamp, h.Seen.Root, h.Seen.At})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}
