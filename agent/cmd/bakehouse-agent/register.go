package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"bakehouse/agent"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// passwordEnv is the environment's way to give the registering user's password.
const passwordEnv = "BAKEHOUSE_PASSWORD"

func registerCommand(g *global) *cobra.Command {
	var o agent.RegisterOptions
	var from passwordFrom
	var remove, asJSON bool
	c := &cobra.Command{
		Use:   "register",
		Short: "Agree a secret with the server, once per host",
		Long: `Agree a secret with the server, once per host.

What no flag and no installed package says is asked for on the terminal; with --server, --host, --user and a password
nothing is. The password is sent once and stored nowhere.

A host whose package is installed needs no more. On a host without one, --anchor and --key say what its first package
is verified by, and the first update installs it:

  bakehouse-agent register --server https://bakehouse.example:8443 --host web01 --user ops \
      --ca ca.pem --anchor trust/1.root.json --key release.pem`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			g.verbose = true // what is given up, such as a check of the server's authority, is always said
			a, err := g.agent(c)
			if err != nil {
				return err
			}
			if remove {
				was, err := a.Deregister()
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(c.OutOrStdout(), was)
				}
				_, err = fmt.Fprintf(c.OutOrStdout(), "deleted: this host is no longer registered as %s at %s\n", was.Host, was.Server)
				return err
			}
			ask := newPrompt(c)
			if err := complete(a, &o, ask); err != nil {
				return err
			}
			o.Password = func() (string, error) { return from.read(ask, o.User) }
			r, err := a.Register(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(c.OutOrStdout(), r)
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "registered: %s at %s\n", r.Host, r.Server)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.Server, "server", "", "URL of the server, such as https://bakehouse.example:8443")
	f.StringVar(&o.Host, "host", "", "name of this host in the fleet's repo")
	f.StringVar(&o.User, "user", "", "user who may register this host")
	f.StringVar(&from.file, "password-file", "", "read the password from this file, - for stdin (or set "+passwordEnv+")")
	f.IntVar(&from.fd, "password-fd", -1, "read the password from this file descriptor")
	f.StringVar(&o.CA, "ca", "", "file with the CA certificates (PEM) that the server is believed by")
	f.StringVar(&o.Anchor, "anchor", "", "root metadata of the fleet, for a host without a package")
	f.StringArrayVar(&o.Keys, "key", nil, "accepted signature key (PEM, public), for a host without a package; can be repeated")
	f.BoolVar(&o.Force, "force", false, "replace an existing registration")
	f.BoolVar(&remove, "delete", false, "forget the registration; what is installed stays")
	f.BoolVar(&asJSON, "json", false, "print the result as JSON")
	c.MarkFlagsMutuallyExclusive("password-file", "password-fd")
	c.MarkFlagsMutuallyExclusive("delete", "force")
	return c
}

// complete asks for what neither a flag nor a file of the host says.
func complete(a *agent.Agent, o *agent.RegisterOptions, ask *prompt) error {
	server, host, registered, err := a.Known()
	if err != nil {
		if !o.Force {
			return err
		}
		server, host, registered = "", "", false
	}
	if registered && !o.Force {
		return nil // Register refuses, before anything is asked
	}
	if o.Server == "" && server == "" {
		if o.Server, err = ask.line("server URL", "", "--server"); err != nil {
			return err
		}
	}
	if o.Host == "" {
		if host == "" {
			host, _ = os.Hostname()
		}
		if o.Host, err = ask.line("host name in the fleet", host, "--host"); err != nil {
			return err
		}
	}
	if o.User == "" {
		o.User, err = ask.line("user", "", "--user")
	}
	return err
}

// prompt asks on the terminal, if there is one.
type prompt struct {
	in       io.Reader
	out      io.Writer
	terminal bool
	lines    *bufio.Reader
}

func newPrompt(c *cobra.Command) *prompt {
	p := &prompt{in: c.InOrStdin(), out: c.ErrOrStderr()}
	if f, ok := p.in.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	p.lines = bufio.NewReader(p.in)
	return p
}

func (p *prompt) line(what, proposal, flag string) (string, error) {
	if !p.terminal {
		return "", fault.Hint(fmt.Errorf("no %s is given", what), "give it by %s; without a terminal nothing is asked for", flag)
	}
	if proposal != "" {
		fmt.Fprintf(p.out, "%s [%s]: ", what, proposal)
	} else {
		fmt.Fprintf(p.out, "%s: ", what)
	}
	s, err := p.lines.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s: %w", what, err)
	}
	if s = strings.TrimSpace(s); s == "" {
		s = proposal
	}
	return s, nil
}

// passwordFrom is where the password comes from: a file, a descriptor, the environment, or the terminal.
type passwordFrom struct {
	file string
	fd   int
}

const maxPassword = 4096

func (from passwordFrom) read(p *prompt, user string) (string, error) {
	switch {
	case from.file == "-":
		return firstLine(p.in)
	case from.file != "":
		f, err := os.Open(from.file)
		if err != nil {
			return "", fault.Hint(fmt.Errorf("password: %w", err), "--password-file names a file whose first line is the password")
		}
		defer f.Close()
		return firstLine(f)
	case from.fd >= 0:
		f := os.NewFile(uintptr(from.fd), "password")
		if f == nil {
			return "", fmt.Errorf("password: no file descriptor %d", from.fd)
		}
		defer f.Close()
		return firstLine(f)
	}
	if s, ok := os.LookupEnv(passwordEnv); ok {
		return s, nil
	}
	f, ok := p.in.(*os.File)
	if !ok || !p.terminal {
		return "", fault.Hint(errors.New("no password is given"),
			"give it by --password-file, --password-fd or %s; without a terminal nothing is asked for", passwordEnv)
	}
	fmt.Fprintf(p.out, "password of %s: ", user)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(p.out)
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	return string(b), nil
}

// firstLine reads a password without its line end.
func firstLine(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxPassword+1))
	if err != nil {
		return "", fmt.Errorf("password: %w", err)
	}
	if len(b) > maxPassword {
		return "", fmt.Errorf("password: longer than %d bytes", maxPassword)
	}
	s, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(s, "\r"), nil
}
