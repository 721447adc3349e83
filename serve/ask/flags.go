package ask

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bakehouse/reconcile/settings"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
	"bakehouse/schema/terminal"
	"bakehouse/serve/audit"
	"bakehouse/serve/desk"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/rollout/keeper"
	"bakehouse/serve/token"
)

// about is the part of each help that says whom a command asks.
const about = `
With --server and --user, it asks a server as one of its users. Without, it works on this machine's server by its
database; whoever may write to that is not bound by permissions.`

// target is which server a command asks.
type target struct {
	server, user, passwordFile, ca string
	database, store                string // store is that of commands that look at releases
	json                           bool
}

// connect adds the flags of a command that asks a server.
func (t *target) connect(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&t.server, "server", "", "`URL` of the server to ask, such as https://bakehouse.example:8443")
	f.StringVar(&t.user, "user", "", "`NAME` of the user to ask it as")
	f.StringVar(&t.passwordFile, "password-file", "",
		"read the user's password from the first line of `FILE`, - for stdin (default: ask on the terminal)")
	f.StringVar(&t.ca, "ca", "", "`FILE` with the certificates (PEM) of the authority that signed the server's")
	f.BoolVar(&t.json, "json", false, "print the result, or the error, as JSON")
	settings.Trust(f, "server", "user", "password-file", "ca")
	settings.Setting(f, "json")
}

// flags are also those of a command that works on this machine's server.
func (t *target) flags(c *cobra.Command) {
	t.connect(c)
	c.Flags().StringVar(&t.database, "database", "store-inventory.db",
		"without --server: `LOCATION` of the database of the server on this machine")
	settings.Trust(c.Flags(), "database")
}

// asked is what answers: a server, or the desk of the one on this machine.
type asked interface {
	create(ctx context.Context, s token.Spec) (*desk.Created, error)
	tokens(ctx context.Context) (*desk.Tokens, error)
	revokeToken(ctx context.Context, id string) error
	revoke(ctx context.Context, host string) error
	forget(ctx context.Context, host string) error
	events(ctx context.Context, since time.Time) (*desk.Events, error)
	// view fills out, a pointer to a struct of package view, with what the path of a page shows.
	view(ctx context.Context, path string, q url.Values, out any) error
	rollouts(ctx context.Context) (*desk.Rollouts, error)
	actOnRollout(ctx context.Context, c keeper.Command) (*keeper.Result, error)
}

// ask calls do with what answers.
func (t *target) ask(c *cobra.Command, do func(ctx context.Context, a asked) error) (err error) {
	if t.server == "" {
		for _, flag := range []string{"user", "password-file", "ca"} {
			if c.Flags().Changed(flag) {
				return fault.Hint(fmt.Errorf("--%s is set, and --server is not", flag),
					"set --server to the server's URL, or leave the others out to work on this machine's server")
			}
		}
		return t.locally(c.Context(), do)
	}
	if c.Flags().Lookup("database") != nil {
		if err := cli.AtMostOne(c, "server", "database"); err != nil {
			return err
		}
	}
	if t.user == "" || strings.Contains(t.user, ":") {
		return fault.Hint(errors.New("no user is set, or the name has a colon"), "set it with --user NAME")
	}
	var authorities []byte
	if t.ca != "" {
		if authorities, err = os.ReadFile(t.ca); err != nil {
			return fault.Hint(err,
				"set --ca to a PEM file with the certificate of the authority that signed the server's")
		}
	}
	cl, err := newClient(t.server, t.user, "", authorities)
	if err != nil {
		return err
	}
	if cl.password, err = t.password(c); err != nil {
		return err
	}
	return do(c.Context(), remote{cl})
}

const maxPassword = 4096

func (t *target) password(c *cobra.Command) (string, error) {
	in := c.InOrStdin()
	if t.passwordFile != "" && t.passwordFile != "-" {
		f, err := os.Open(t.passwordFile)
		if err != nil {
			return "", fault.Hint(err, "--password-file names a file whose first line is the password")
		}
		defer f.Close()
		in = f
	}
	if t.passwordFile == "" {
		f, ok := in.(*os.File)
		if !ok || !term.IsTerminal(int(f.Fd())) {
			return "", fault.Hint(errors.New("there is no terminal to ask for the password on"),
				"set --password-file FILE")
		}
		fmt.Fprintf(c.ErrOrStderr(), "password of %s: ", t.user)
		b, err := terminal.ReadPassword(c.Context(), f)
		fmt.Fprintln(c.ErrOrStderr())
		return string(b), err
	}
	line, err := bufio.NewReader(io.LimitReader(in, maxPassword)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fault.Hint(errors.New("the password is empty"), "its first line is read from --password-file")
	}
	return line, nil
}

// locally works on the database of this machine's server.
func (t *target) locally(ctx context.Context, do func(context.Context, asked) error) (err error) {
	if !inventory.IsPostgreSQL(t.database) {
		if _, err := os.Stat(strings.TrimPrefix(t.database, "sqlite:")); err != nil {
			return fault.Hint(fmt.Errorf("database: %w", err),
				"set --database to that of the server on this machine, or ask a server with --server URL --user NAME")
		}
	}
	db, err := inventory.Open(ctx, t.database)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	// What is served is not known here, so it is what servers stored, and they go on from there.
	k, err := keeper.New(ctx, db, func() *rollout.Census { return nil }, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	d := &desk.Desk{Inventory: db, Rollout: k, Audit: audit.New(db, nil, slog.New(slog.DiscardHandler)), Now: time.Now,
		Release: func() *origin.Release { return nil }}
	return do(ctx, local{d, db, t.store, audit.Actor{Name: token.Local + name}})
}
