package serve

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"bakehouse/reconcile/settings"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// hashCost is the bcrypt cost of new hashes, about 0.25 s: they stand in the config repo for many to read.
const hashCost = 12

// AccessCommand is `bakehouse access`.
func AccessCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "access",
		Short: "Users who may register hosts or download packages",
		Args:  cobra.NoArgs,
	}
	c.AddCommand(accessAdd())
	return c
}

func accessAdd() *cobra.Command {
	var permissions, hosts []string
	var passwordFile string
	var passwordStdin, automation bool
	c := &cobra.Command{
		Use:   "add USER",
		Short: "Print the line of CUE that makes USER a user",
		Long: strings.TrimSpace(`
Print the line of CUE that makes USER a user. Nothing else is changed: append the line to access.cue in the top of the
config repo, which starts with the same package clause as fleet.cue, and commit it. It counts once reconcile has
published it. Only a hash of the password (bcrypt) stands in it.

The password is asked for on the terminal, or read from the first line of a file or of stdin.`),
		Example: `  bakehouse access add installer --permission register >> access.cue
  bakehouse access add ci --automation --permission register --hosts '~web.*' --password-file ci.secret`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkGrant(args[0], permissions, hosts); err != nil {
				return err
			}
			password, err := readPassword(c, passwordFile, passwordStdin)
			if err != nil {
				return err
			}
			line, err := accessLine(args[0], password, automation, permissions, hosts, hashCost)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), line)
			return err
		},
	}
	f := c.Flags()
	f.StringArrayVar(&permissions, "permission", nil, "`PERMISSION` to give: register or download; may be repeated")
	f.StringArrayVar(&hosts, "hosts", []string{"~.*"},
		"`PATTERN` of the hosts it covers: a name, or ~ and a regular expression; may be repeated")
	f.BoolVar(&automation, "automation", false, "mark the user as a program rather than a person")
	f.StringVar(&passwordFile, "password-file", "", "read the password from the first line of `FILE`")
	f.BoolVar(&passwordStdin, "password-stdin", false, "read the password from the first line of stdin")
	settings.Trust(f, "password-file")
	c.MarkFlagsMutuallyExclusive("password-file", "password-stdin")
	return c
}

func checkGrant(name string, permissions, hosts []string) error {
	if err := schema.CheckName(name); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	if len(permissions) == 0 {
		return fault.Hint(errors.New("no permission is given"), "add --permission register or --permission download")
	}
	for _, p := range permissions {
		if p != schema.PermRegister && p != schema.PermDownload {
			return fault.Hint(fmt.Errorf("permission %.40q is unknown", p), "%s or %s", schema.PermRegister, schema.PermDownload)
		}
	}
	for _, p := range hosts {
		if _, err := schema.MatchHost(p, ""); err != nil {
			return fault.Hint(err, "a pattern is a host's name, or ~ and a regular expression such as ~web.*")
		}
		if p == "" {
			return fault.Hint(errors.New("an empty host pattern matches nothing"),
				"a pattern is a host's name, or ~ and a regular expression such as ~web.*")
		}
	}
	return nil
}

// accessLine is one line of CUE. Labels and strings are quoted as in JSON, which CUE reads alike.
func accessLine(name string, password []byte, automation bool, permissions, hosts []string, cost int) (string, error) {
	switch {
	case len(password) == 0:
		return "", fault.Hint(errors.New("the password is empty"), "choose one; anybody could log in without")
	case len(password) > maxPassword:
		return "", fault.Hint(fmt.Errorf("the password has %d bytes", len(password)),
			"bcrypt reads %d bytes at most: choose a shorter one", maxPassword)
	case bytes.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fault.Hint(errors.New("the password contains a control character"),
			"it could not be typed again: choose another one")
	}
	hash, err := bcrypt.GenerateFromPassword(password, cost)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `users: %s: {hash: %s, `, quote(name), quote(string(hash)))
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
		return term.ReadPassword(int(in.Fd()))
	}
	password, err := ask("Password: ")
	if err != nil {
		return nil, err
	}
	again, err := ask("Password again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(password, again) {
		return nil, fault.Hint(errors.New("the two passwords differ"), "try again; nothing was printed")
	}
	return password, nil
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
