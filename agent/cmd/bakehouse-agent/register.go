package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"bakehouse/agent"
	"bakehouse/schema/cli"
	"bakehouse/schema/fault"
	"bakehouse/schema/terminal"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// passwordEnv is the environment's way to give the registering user's password.
const passwordEnv = "BAKEHOUSE_PASSWORD"

// tokenEnv is the environment's way to give a join token.
const tokenEnv = "BAKEHOUSE_TOKEN"

func registerCommand(g *global) *cobra.Command {
	var o agent.RegisterOptions
	var from passwordFrom
	var installed string
	c := &cobra.Command{
		Use:   "register",
		Short: "Register this host with its server, once",
		Long: `Register this host with its server, once. They agree on a secret by which the server knows the host.

Values that neither a flag, nor the installed package, nor the registration before (with --force) has are asked for on
the terminal; with --server, --host, --user and a password, nothing is. The password is sent once and not stored.

A join token (bakehouse token create) takes the place of a user and a password: --token FILE.

A server that knows the host already, and is polled by it, refuses, unless this host still has its secret. After the
host was set up again, use --force and a user with the permission revoke, a join token that replaces, or bakehouse host
revoke.

If the host's package is installed, that is all. If not, copy this program to the host; the first update installs the
package. What that is verified with comes from the fleet's repository, in one of these ways:

  bakehouse-agent register --server https://bakehouse.example:8443 --host web01 --user ops \
      --root-fingerprint "$(sha256sum < trust/1.root.json | cut -d' ' -f1)"
  bakehouse-agent register --server https://bakehouse.example:8443 --host web01 --user ops \
      --ca ca.pem --anchor trust/1.root.json --key release.pem

With the fingerprint, the fleet's signed settings may vouch for the server's certificate, and no signature key is known
for the first package (add --key to check its signatures); those that it brings count from then on.

The server is believed by --ca, by the package, by the fleet's signed settings, or else by the public authorities that
this program brings along; those of the system do not count. Each of these gives something up, and says what:
  --trust-cert       pins the certificate that the server shows now, and prints its fingerprint
  --insecure         verifies no certificate in this call: whoever answers gets the password
  --skip-signatures  trusts the server's root on first use, prints its fingerprint; refused once the host has a root`,
		Args: cobra.NoArgs,
	}
	f := c.Flags()
	f.StringVar(&o.Server, "server", "", "`URL` of the server, such as https://bakehouse.example:8443")
	f.StringVar(&o.Host, "host", "", "`NAME` of this host in the fleet's repository")
	f.StringVar(&o.User, "user", "", "`NAME` of a user who may register this host")
	f.StringVar(&from.token, "token", "",
		"`FILE` with a join token instead of a user and a password, - for stdin (or set "+tokenEnv+")")
	f.StringVar(&from.file, "password-file", "", "read the password from `FILE`, - for stdin (or set "+passwordEnv+")")
	f.StringVar(&from.given, "password", "", "the password itself, which others on this host can read")
	_ = f.MarkHidden("password")
	f.IntVar(&from.fd, "password-fd", 0, "read the password from file descriptor `N`")
	f.StringVar(&o.CA, "ca", "", "`FILE` with the certificates (PEM) of the authority that signed the server's")
	f.StringVar(&o.Anchor, "anchor", "", "`FILE` with the fleet's root metadata, for a host without a package")
	f.StringArrayVar(&o.Keys, "key", nil,
		"`FILE` with a signature key to accept (PEM, public), for a host without a package; repeatable")
	f.BoolVar(&o.TrustCert, "trust-cert", false, "trust the certificate that the server shows now, whoever signed it")
	f.BoolVar(&o.Insecure, "insecure", false, "do not verify the server's certificate in this call")
	f.StringVar(&o.RootFingerprint, "root-fingerprint", "",
		"`SHA256` of the fleet's trust/1.root.json, for a host without a package")
	f.BoolVar(&o.SkipSignatures, "skip-signatures", false,
		"trust the server's root on first use, for a host without a package")
	f.DurationVar(&o.Wait, "wait", 0,
		"try for a `TIME` such as 24h while the server is not there, or does not know this host or what the user may")
	f.StringVar(&installed, "package", "",
		"`FILE` of this host's package that was installed manually: the first update need not fetch it")
	f.BoolVar(&o.Force, "force", false, "replace an existing registration, here and at the server")
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		from.given = clearFromTitle(from.given)
		for _, other := range []string{"password", "password-file", "password-fd", "user"} {
			if err := cli.AtMostOne(c, "token", other); err != nil {
				return err
			}
		}
		if err := cli.AtMostOne(c, "password", "password-file", "password-fd"); err != nil {
			return err
		}
		if from.given != "" {
			fmt.Fprintf(c.ErrOrStderr(),
				"%s: warning: others on this host could read the password of --password, and the "+
					"shell may keep it: use --password-file or %s\n", c.Root().Name(), passwordEnv)
		}
		if o.Token = from.joins(o.User); strings.HasPrefix(from.token, "bhj_") {
			return fault.Hint(errors.New("--token takes a file, not the token itself: others can read command lines"),
				"write it to a file for root only, or set "+tokenEnv+"; revoke this one: bakehouse token revoke")
		}
		if installed != "" {
			if _, err := os.Stat(installed); err != nil {
				return fault.Hint(err, "set --package to the file of the package that was installed, such as web01.deb")
			}
		}
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		ask := newPrompt(c)
		if err := complete(a, &o, ask); err != nil {
			return err
		}
		if o.Wait < 0 {
			return fault.Hint(fmt.Errorf("invalid --wait %s", o.Wait), "set it to a time such as 24h, or leave it out")
		}
		from.byFD = c.Flags().Changed("password-fd")
		o.Password = func() (string, error) { return from.read(ask, o.User) }
		if o.Token {
			o.Password = func() (string, error) { return from.joinToken(ask) }
		}
		r, err := a.Register(c.Context(), o)
		if err == nil && installed != "" {
			_, err = a.Adopt(installed)
		}
		switch {
		case err != nil:
		case *asJSON:
			err = writeJSON(c.OutOrStdout(), r)
		case !g.quiet:
			_, err = fmt.Fprintf(c.OutOrStdout(), "registered: %s at %s\n", r.Host, r.Server)
		}
		if err == nil && ask.asked && !g.quiet {
			fmt.Fprintf(c.ErrOrStderr(), "hint: without questions, that is: %s\n", unasked(c, r, o.User))
		}
		return err
	}
	return c
}

func unregisterCommand(g *global) *cobra.Command {
	c := &cobra.Command{
		Use:   "unregister",
		Short: "Forget this host's registration; what is installed stays",
		Long: `Forget this host's registration: its secret, and that it is to be updated. The installed package stays,
and runs on; it is not updated any more.

The server is told, so that the secret counts no longer, and may be gone. It still has the host's last report, until
bakehouse host forget.`,
		Args: cobra.NoArgs,
	}
	asJSON := jsonFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		a, err := g.agent(c)
		if err != nil {
			return err
		}
		r, untold, err := a.Unregister(c.Context())
		if err != nil {
			return err
		}
		if untold != nil {
			fmt.Fprintf(c.ErrOrStderr(), "bakehouse-agent: warning: the server could not be told, and counts the host "+
				"as registered: %v\nbakehouse-agent: hint: end it there: bakehouse host revoke %s\n", untold, r.Host)
		}
		switch {
		case *asJSON:
			err = writeJSON(c.OutOrStdout(), struct {
				*agent.Registered
				Told bool `json:"told"` // the server
			}{r, untold == nil})
		case !g.quiet:
			_, err = fmt.Fprintf(c.OutOrStdout(), `unregistered: this host was %s at %s; what is installed stays
If the host is gone for good, remove it from the fleet's repository; bakehouse host forget %[1]s drops its last report.
`, r.Host, r.Server)
		}
		return err
	}
	return c
}

// unasked is the command line that would have asked nothing.
func unasked(c *cobra.Command, r *agent.Registered, user string) string {
	line := []string{"--server", r.Server, "--host", r.Host}
	end := ""
	if user != "" {
		line, end = append(line, "--user", user), " --password-file FILE"
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "server", "host", "user", "password", "password-file", "password-fd":
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				line = append(line, "--"+f.Name, v)
			}
		} else if f.Value.Type() == "bool" {
			line = append(line, "--"+f.Name)
		} else {
			line = append(line, "--"+f.Name, f.Value.String())
		}
	})
	for i, s := range line {
		if strings.ContainsAny(s, " \t\"'$`\\") {
			line[i] = "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return c.CommandPath() + " " + strings.Join(line, " ") + end
}

// shortName is a host's name as fleets have it.
func shortName(name string) string {
	name, _, _ = strings.Cut(name, ".")
	return strings.ToLower(name)
}

// complete asks for what neither a flag nor a file of the host says.
func complete(a *agent.Agent, o *agent.RegisterOptions, ask *prompt) error {
	server, _, registered, err := a.Known()
	if err != nil && !o.Force {
		return err
	}
	if registered && !o.Force {
		return nil // Register refuses, before anything is asked
	}
	if o.Server == "" && server == "" {
		if o.Server, err = ask.line("server URL", "", "--server"); err != nil {
			return err
		}
	}
	if o.Host == "" && !registered {
		name, _ := os.Hostname()
		if o.Host, err = ask.line("host name in the fleet", shortName(name), "--host"); err != nil {
			return err
		}
	}
	if o.User == "" && !o.Token {
		o.User, err = ask.line("user", "", "--user")
	}
	return err
}

// prompt asks on the terminal, if there is one.
type prompt struct {
	in       io.Reader
	out      io.Writer
	terminal bool
	asked    bool            // anything
	ctx      context.Context // whose end gives a prompt up
	lines    *bufio.Reader
}

func newPrompt(c *cobra.Command) *prompt {
	p := &prompt{in: c.InOrStdin(), out: c.ErrOrStderr(), ctx: c.Context()}
	if f, ok := p.in.(*os.File); ok {
		p.terminal = term.IsTerminal(int(f.Fd()))
	}
	p.lines = bufio.NewReader(p.in)
	return p
}

func (p *prompt) line(what, proposal, flag string) (string, error) {
	if !p.terminal {
		return "", fault.Hint(fmt.Errorf("no %s given, and no terminal to ask on", what), "set it with %s", flag)
	}
	p.asked = true
	if proposal != "" {
		fmt.Fprintf(p.out, "%s [%s]: ", what, proposal)
	} else {
		fmt.Fprintf(p.out, "%s: ", what)
	}
	type answer struct {
		line string
		err  error
	}
	read := make(chan answer, 1)
	go func() {
		line, err := p.lines.ReadString('\n')
		read <- answer{line, err}
	}()
	var s string
	select {
	case a := <-read:
		if a.err != nil {
			return "", fmt.Errorf("%s: %w", what, a.err)
		}
		s = a.line
	case <-p.ctx.Done():
		return "", fault.ErrInterrupted
	}
	if s = strings.TrimSpace(s); s == "" {
		s = proposal
	}
	return s, nil
}

// passwordFrom is where the password comes from: a file, a descriptor, the environment, or the terminal.
type passwordFrom struct {
	token string // a file with a join token
	given string // on the command line
	file  string
	fd    int
	byFD  bool
}

const maxPassword = 4096

// joins reports whether a join token is given, by the flag or, if nothing else is, by the environment.
func (from passwordFrom) joins(user string) bool {
	return from.token != "" || os.Getenv(tokenEnv) != "" && user == "" && from.given == "" && from.file == "" &&
		!from.byFD
}

func (from passwordFrom) joinToken(p *prompt) (string, error) {
	text := os.Getenv(tokenEnv)
	if from.token != "" {
		var err error
		if text, err = (passwordFrom{file: from.token}).read(p, ""); err != nil {
			return "", fault.Hint(err, "set --token to a file whose first line is the join token")
		}
	}
	if text = strings.TrimSpace(text); text == "" || strings.ContainsAny(text, " \t\r\n") {
		return "", fault.Hint(errors.New("that is no join token"), "bakehouse token create prints one")
	}
	return text, nil
}

func (from passwordFrom) read(p *prompt, user string) (string, error) {
	switch {
	case from.given != "":
		return from.given, nil
	case from.file == "-":
		return firstLine(p.in)
	case from.file != "":
		f, err := os.Open(from.file)
		if err != nil {
			return "", fault.Hint(fmt.Errorf("password: %w", err),
				"set --password-file to a file whose first line is the password")
		}
		defer f.Close()
		return firstLine(f)
	case from.byFD:
		f := os.NewFile(uintptr(from.fd), "password")
		if f == nil {
			return "", fmt.Errorf("password: invalid file descriptor %d", from.fd)
		}
		defer f.Close()
		return firstLine(f)
	}
	if s, ok := os.LookupEnv(passwordEnv); ok {
		return s, nil
	}
	f, ok := p.in.(*os.File)
	if !ok || !p.terminal {
		return "", fault.Hint(errors.New("no password given, and no terminal to ask on"),
			"set it with --password-file, --password-fd or %s", passwordEnv)
	}
	p.asked = true
	fmt.Fprintf(p.out, "password of %s: ", user)
	b, err := terminal.ReadPassword(p.ctx, f)
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
		return "", fmt.Errorf("password: it is longer than %d bytes", maxPassword)
	}
	s, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSuffix(s, "\r"), nil
}
