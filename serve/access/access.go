// Package access is the command `bakehouse access`, which writes the users of access.cue. Package evaluate reads them,
// and servers get them signed.
package access

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/passhash"
	"bakehouse/schema/terminal"
)

const hintPattern = "a pattern is a host's name, or ~ and a regular expression for whole names such as ~web.*"

// Command is `bakehouse access`.
func Command() *cobra.Command {
	c := &cobra.Command{
		Use:   "access",
		Short: "Users who may register hosts or download packages",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(add())
	return c
}

func add() *cobra.Command {
	var permissions, hosts []string
	var passwordFile string
	var passwordStdin, automation bool
	c := &cobra.Command{
		Use:   "add USER",
		Short: "Print the line of CUE that makes USER a user",
		Long: strings.TrimSpace(`
Print the line of CUE that makes USER a user. Nothing else is changed: append the line to access.cue in the top of the
config repo, which starts with the same package clause as fleet.cue, and commit it. It counts once reconcile has
published it. It contains only a hash of the password (argon2id).

The permissions:

` + permissionsHelp() + `
A pattern of hosts is a name, or ~ and a regular expression that matches the whole name: ~web.* covers web01, ~web does
not. (In conditions of rules, a regular expression matches from the start of a name.) The permission publish counts for
all hosts only: ~.*

The password is read from the terminal, or from the first line of a file or of stdin.`),
		Example: `  bakehouse access add installer --permission register >> access.cue
  bakehouse access add ci --automation --permission register --hosts '~web.*' --password-file ci.secret`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkGrant(args[0], permissions, hosts); err != nil {
				return err
			}
			given, err := readPassword(c, passwordFile, passwordStdin)
			if err != nil {
				return err
			}
			line, err := Line(args[0], given, automation, permissions, hosts)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), line)
			return err
		},
	}
	f := c.Flags()
	f.StringArrayVar(&permissions, "permission", nil, "`PERMISSION` to give; may be repeated")
	f.StringArrayVar(&hosts, "hosts", []string{"~.*"},
		"`PATTERN` of the hosts it covers; may be repeated")
	f.BoolVar(&automation, "automation", false, "mark the user as a program rather than a person")
	f.StringVar(&passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.BoolVar(&passwordStdin, "password-stdin", false, "read the password from the first line of stdin")
	settings.Trust(f, "password-file")
	c.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return c
}

// permissionsHelp has a line for each permission.
func permissionsHelp() string {
	var b strings.Builder
	for _, p := range schema.Permissions {
		fmt.Fprintf(&b, "  %-10s%s\n", p.Name, p.Meaning)
	}
	return b.String()
}

func anyOf(names []string) string {
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

func checkGrant(name string, permissions, hosts []string) error {
	if err := schema.CheckName(name); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	names := schema.PermissionNames()
	if len(permissions) == 0 {
		return fault.Hint(errors.New("no permission is given"), "add --permission, once for each: %s", anyOf(names))
	}
	for _, p := range permissions {
		if !slices.Contains(names, p) {
			return fault.Hint(fmt.Errorf("unknown permission %.40q", p), "want %s", anyOf(names))
		}
	}
	for _, p := range hosts {
		if _, err := schema.MatchHost(p, ""); err != nil {
			return fault.Hint(err, hintPattern)
		}
		if p == "" {
			return fault.Hint(errors.New("an empty host pattern matches nothing"), hintPattern)
		}
	}
	return nil
}

// Line is one line of CUE that makes a user. Labels and strings are quoted as in JSON, which CUE reads alike.
func Line(name string, given []byte, automation bool, permissions, hosts []string) (string, error) {
	switch {
	case len(given) == 0:
		return "", fault.Hint(errors.New("the password is empty"), "choose one; anybody could log in without")
	case bytes.ContainsFunc(given, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fault.Hint(errors.New("the password contains a control character"),
			"it could not be typed again: choose another one")
	}
	hash, err := passhash.New(given)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `users: %s: {hash: %s, `, quote(name), quote(hash.String()))
	if automation {
		b.WriteString("automation: true, ")
	}
	b.WriteString("permissions: {")
	seen := map[string]bool{}
	for _, p := range permissions {
		if seen[p] {
			continue
		}
		if len(seen) > 0 {
			b.WriteString(", ")
		}
		seen[p] = true
		fmt.Fprintf(&b, "%s: [", p)
		for i, h := range hosts {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(quote(h))
		}
		b.WriteString("]")
	}
	b.WriteString("}}")
	return b.String(), nil
}

func quote(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		panic(err) // strings always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func readPassword(c *cobra.Command, file string, stdin bool) ([]byte, error) {
	switch {
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, fault.Hint(err, "--password-file names a file whose first line is the password")
		}
		defer f.Close()
		return firstLine(f)
	case stdin:
		return firstLine(c.InOrStdin())
	}
	in, ok := c.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, fault.Hint(errors.New("there is no terminal to ask for the password on"),
			"give --password-file FILE or --password-stdin")
	}
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(c.ErrOrStderr(), prompt)
		defer fmt.Fprintln(c.ErrOrStderr())
		return terminal.ReadPassword(c.Context(), in)
	}
	given, err := ask("Password: ")
	if err != nil {
		return nil, err
	}
	again, err := ask("Password again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(given, again) {
		return nil, fault.Hint(errors.New("the two passwords differ"), "try again; nothing was printed")
	}
	return given, nil
}

// firstLine reads a line of at most 4 KiB, without its end.
func firstLine(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, 4096))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}
