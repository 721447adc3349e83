package keys

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// Passphrase returns the passphrase of a key. confirm asks for it twice, for a key that is being made.
type Passphrase func(key string, confirm bool) ([]byte, error)

// passphrasePrefix begins the variables that hold passphrases. The reserved ones are settings of flags instead, so no key may
// be called as they are.
const passphrasePrefix = "BAKEHOUSE_PASSPHRASE_"

var reservedVariables = []string{passphrasePrefix + "FILE", passphrasePrefix + "FD"}

func passphraseVariable(key string) string {
	return passphrasePrefix + strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, strings.ToUpper(key))
}

type environmentKey struct{}

// TakePassphrases takes every BAKEHOUSE_PASSPHRASE_<KEY> out of this process's environment, so that no child (git, go build, a
// plugin) inherits one, and returns a context that holds them. A program calls it before it starts anything.
func TakePassphrases(ctx context.Context) context.Context {
	taken := passphrasesOf(os.Environ())
	for name := range taken {
		_ = os.Unsetenv(name)
	}
	return context.WithValue(ctx, environmentKey{}, taken)
}

func passphrasesOf(environ []string) map[string]string {
	found := map[string]string{}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, passphrasePrefix) && !slices.Contains(reservedVariables, name) {
			found[name] = value
		}
	}
	return found
}

// fromEnvironment is what TakePassphrases took; without it, what the environment still has.
func fromEnvironment(ctx context.Context, name string) (string, bool) {
	taken, ok := ctx.Value(environmentKey{}).(map[string]string)
	if !ok {
		taken = passphrasesOf(os.Environ())
	}
	v, ok := taken[name]
	return v, ok
}

// prompted says where a passphrase comes from that the environment has none for: a file, a descriptor, or the terminal.
type prompted struct {
	name     string // of the flags: "passphrase" for --passphrase-file and --passphrase-fd
	file, fd string
	line     []byte // the first line; a descriptor can be read only once
	read     bool
}

func (p *prompted) flags(f *pflag.FlagSet, name, whose string) {
	p.name = name
	f.StringVar(&p.file, name+"-file", "", "file whose first line is "+whose)
	f.StringVar(&p.fd, name+"-fd", "", "number of an open file descriptor whose first line is "+whose)
}

// get returns the passphrase that what says whose it is. An empty one is refused: it would encrypt, to no purpose.
func (p *prompted) get(what, hint string, confirm bool) ([]byte, error) {
	pass, err := p.find(what, hint, confirm)
	if err != nil {
		return nil, err
	}
	return notEmpty(pass, what)
}

func notEmpty(pass []byte, what string) ([]byte, error) {
	if len(pass) == 0 {
		return nil, fault.Hint(fmt.Errorf("%s is empty", what), "choose one that is not")
	}
	return pass, nil
}

func (p *prompted) find(what, hint string, confirm bool) ([]byte, error) {
	switch fd := int(os.Stdin.Fd()); {
	case p.file != "" && p.fd != "":
		return nil, fault.Hint(fmt.Errorf("--%s-file and --%s-fd are both given", p.name, p.name), "leave one of them out")
	case p.file != "" || p.fd != "":
		if !p.read {
			var err error
			if p.line, err = p.firstLine(); err != nil {
				return nil, fmt.Errorf("passphrase file: %w", err)
			}
			p.read = true
		}
		return p.line, nil
	case term.IsTerminal(fd):
		pass, err := ask(fd, what+": ")
		if err != nil || !confirm {
			return pass, err
		}
		again, err := ask(fd, "the same again: ")
		if err == nil && !bytes.Equal(pass, again) {
			err = errors.New("the two passphrases differ")
		}
		return pass, err
	}
	return nil, fault.Hint(fmt.Errorf("no %s", strings.TrimPrefix(what, "the ")), "%s", hint)
}

// maxLine bounds what is read in search of a line's end.
const maxLine = 64 << 10

func (p *prompted) firstLine() ([]byte, error) {
	var f *os.File
	var err error
	if p.file != "" {
		f, err = os.Open(p.file)
	} else {
		f, err = openDescriptor(p.fd)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxLine)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return bytes.TrimRight(line, "\r\n"), nil
}

// openDescriptor is a copy of the descriptor: closing the copy closes nothing that somebody else uses.
func openDescriptor(number string) (*os.File, error) {
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("%.20q is no number of a file descriptor", number)
	}
	fd, err := syscall.Dup(n)
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d: %w", n, err)
	}
	return os.NewFile(uintptr(fd), "file descriptor "+number), nil
}

// passphrases looks in the environment, then where p says.
func passphrases(ctx context.Context, p *prompted) Passphrase {
	return func(key string, confirm bool) ([]byte, error) {
		name := passphraseVariable(key)
		what := "the passphrase of key " + key
		if v, ok := fromEnvironment(ctx, name); ok {
			return notEmpty([]byte(v), what)
		}
		return p.get(what, fmt.Sprintf("set %s, give --%s-file or --%s-fd, or run on a terminal", name, p.name, p.name), confirm)
	}
}

func ask(fd int, prompt string) ([]byte, error) {
	fmt.Fprint(os.Stderr, prompt)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return b, err
}

// PassphraseFlags are the ways to give a passphrase, for a command with a key that is none of the fleet's.
type PassphraseFlags struct{ from prompted }

// Flags defines --passphrase-file and --passphrase-fd.
func (p *PassphraseFlags) Flags(cmd *cobra.Command, whose string) {
	p.from.flags(cmd.Flags(), "passphrase", "the passphrase of "+whose)
}

// Passphrase looks in the environment, then where the flags say, then asks.
func (p *PassphraseFlags) Passphrase(ctx context.Context) Passphrase {
	return passphrases(ctx, &p.from)
}
