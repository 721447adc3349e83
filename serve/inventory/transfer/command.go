package transfer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bakehouse/reconcile/settings"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"
)

// Command is `bakehouse inventory`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "inventory",
		Short: "Copy, back up and move what a server knows of its hosts",
		Long: `Copy, back up and move the database of a server: registrations, the last reports, join tokens,
the audit log.

A LOCATION is a SQLite file, or the URL of a PostgreSQL database, postgres://USER@HOST/DATABASE. Its password
belongs in the environment (BAKEHOUSE_DATABASE, PGPASSWORD) or in a file that PGPASSFILE names: every user of
the machine can read a command line.`,
		Args: cobra.NoArgs,
	}
	c.AddCommand(copyCommand(), backupCommand(), exportCommand(), importCommand())
	return c
}

func copyCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy a server's database to an empty one, such as from SQLite to PostgreSQL",
		Long: `Copy everything in a server's database to another one, which must be empty or absent: from SQLite
to PostgreSQL when a second server is added, or back. Stop the servers that use it first: if hosts change
meanwhile, nothing is copied.`,
		Example: `  bakehouse inventory copy inventory.db postgres://bakehouse@db.example/bakehouse`,
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return with(c.Context(), args[0], func(from *inventory.DB) error {
				to, err := inventory.Open(c.Context(), args[1])
				if err != nil {
					return err
				}
				done, err := from.CopyTo(c.Context(), to)
				if err = errors.Join(err, to.Close()); err != nil {
					return err
				}
				return tell(c.OutOrStdout(), asJSON, done, "copied %d hosts, %d rows, to %s\n", done.Hosts, done.Rows,
					inventory.Name(args[1]))
			})
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func backupCommand() *cobra.Command {
	var database string
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Back up a server's database while it serves",
		Long: `Write the database as it is now to FILE, which must not exist and is made for its owner only.
Servers go on using the database. To restore it, stop the server, put the file in the place of the database, and
remove the database's -wal and -shm files. A PostgreSQL database is backed up by pg_dump.`,
		Example: `  bakehouse inventory backup /var/backups/bakehouse.db --database inventory.db`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if inventory.IsPostgreSQL(database) {
				return fault.Hint(errors.New("a PostgreSQL database is backed up by its own program"),
					"pg_dump --format=custom --file=%s --dbname=%s", args[0], inventory.Name(database))
			}
			return with(c.Context(), database, func(db *inventory.DB) error {
				if err := db.Backup(c.Context(), args[0]); err != nil {
					return explain(err, args[0])
				}
				_, err := fmt.Fprintf(c.OutOrStdout(), "backed up to %s\n", args[0])
				return err
			})
		},
	}
	databaseFlag(c, &database)
	return c
}

func exportCommand() *cobra.Command {
	var database string
	var asJSON bool
	c := &cobra.Command{
		Use:   "export FILE",
		Short: "Export registrations, to move hosts to another server",
		Long: `Write registrations, with the last report and packages of each host, and what was served last, to
FILE as JSON lines. It must not exist and is made for its owner only: it has digests of the hosts' secrets.
Import it where hosts are to poll; a host then polls there with the secret that it has. Join tokens and the
audit log stay.`,
		Example: `  bakehouse inventory export hosts.jsonl --database inventory.db`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return with(c.Context(), database, func(db *inventory.DB) error {
				r, w := io.Pipe()
				hosts := 0
				go func() {
					var err error
					hosts, err = Write(w, db.Export(c.Context()), time.Now())
					w.CloseWithError(err)
				}()
				err := durable.Create(args[0], r, 0o600)
				r.CloseWithError(err) // ends the writer where the file cannot be written
				if err != nil {
					return explain(err, args[0])
				}
				result := struct {
					Hosts int `json:"hosts"`
				}{hosts}
				return tell(c.OutOrStdout(), asJSON, result, "exported %d hosts to %s\n", hosts, args[0])
			})
		},
	}
	databaseFlag(c, &database)
	jsonFlag(c, &asJSON)
	return c
}

func importCommand() *cobra.Command {
	var database string
	var replace, asJSON bool
	c := &cobra.Command{
		Use:   "import FILE",
		Short: "Import registrations that another server exported",
		Long: `Add registrations that inventory export wrote to the database, which is made if it is absent. All
of them are added or none, and importing again changes nothing. A server that uses the database knows them at
once. A registration that is newer here stays. One that a host polls with here is replaced only with --replace,
which locks that host out.`,
		Example: `  bakehouse inventory import hosts.jsonl --database inventory.db`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			f, err := os.Open(args[0])
			if err != nil {
				return explain(err, args[0])
			}
			defer f.Close()
			entries, err := Read(f)
			if err != nil {
				return fault.Hint(fmt.Errorf("%s: %w", args[0], err),
					"give a file that bakehouse inventory export of this version wrote, and all of it")
			}
			db, err := inventory.Open(c.Context(), database)
			if err != nil {
				return err
			}
			done, err := db.Import(c.Context(), entries, replace)
			err = errors.Join(err, db.Close())
			if live := (*inventory.LiveError)(nil); errors.As(err, &live) {
				return fault.Hint(err, "nothing was imported; with --replace, the hosts that poll here are locked out")
			}
			if err != nil {
				return err
			}
			return tell(c.OutOrStdout(), asJSON, done, "imported %d hosts; %d were here already, %d are newer here\n",
				done.Hosts, done.Same, done.Older)
		},
	}
	databaseFlag(c, &database)
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&replace, "replace", false, "replace registrations that hosts poll with here")
	return c
}

func databaseFlag(c *cobra.Command, database *string) {
	c.Flags().StringVar(database, "database", "store-inventory.db", "the server's database: `LOCATION`")
	settings.Trust(c.Flags(), "database")
}

func jsonFlag(c *cobra.Command, asJSON *bool) {
	c.Flags().BoolVar(asJSON, "json", false, "print the result, or the error, as JSON")
	settings.Setting(c.Flags(), "json")
}

// with calls do with a database that is there.
func with(ctx context.Context, location string, do func(*inventory.DB) error) (err error) {
	if !inventory.IsPostgreSQL(location) {
		if _, err := os.Stat(strings.TrimPrefix(location, "sqlite:")); err != nil {
			return fault.Hint(fmt.Errorf("database: %w", err), "set --database to the server's")
		}
	}
	db, err := inventory.Open(ctx, location)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// explain adds a hint to an error about a file.
func explain(err error, file string) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return fault.Hint(fmt.Errorf("%s exists", file), "give a file that does not: nothing is overwritten")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fault.Hint(err, "give a file in a directory that is there and that this user may use")
	}
	return err
}

func tell(w io.Writer, asJSON bool, result any, format string, args ...any) error {
	if !asJSON {
		_, err := fmt.Fprintf(w, format, args...)
		return err
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(result)
}
