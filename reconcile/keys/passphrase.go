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
	"bakehouse/schema/terminal"

	"golang.org/x/term"
)

// Passphrase returns the passphrase of a key. confirm asks for it twice, for a key that is being made.
type Passphrase func(key string, confirm bool) ([]byte, error)

// passphrasePrefix begins the variables that hold passphrases. The reserved ones are settings of flags instead, so no
// key may be called as they are.
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

// TakePassphrases takes every BAKEHOUSE_PASSPHRASE_<KEY> out of this process's environment, so that no child (git, go
// build, a plugin) inherits one, and returns a context that holds them. A program calls it before it starts anything.
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

// PassphraseSource is where a passphrase comes from that the environment has none for: a file, a descriptor, or the
// terminal.
type PassphraseSource struct {
	Flag     string // what the settings are called: "passphrase" for --passphrase-file and --passphrase-fd
	File, FD string // whose first line it is; if neither is set, the terminal is asked

	line []byte // the first line; a descriptor can be read only once
	read bool
}

// Get returns the passphrase, which what says whose it is. An empty one is refused: it would encrypt, to no purpose.
// The hint says what to do if there is none; confirm has the terminal ask twice. The end of ctx, as by Ctrl-C, gives
// the prompt up.
func (p *PassphraseSource) Get(ctx context.Context, what, hint string, confirm bool) ([]byte, error) {
	pass, err := p.find(ctx, what, hint, confirm)
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

func (p *PassphraseSource) find(ctx context.Context, what, hint string, confirm bool) ([]byte, error) {
	switch fd := int(os.Stdin.Fd()); {
	case p.File != "" && p.FD != "":
		return nil, fault.Hint(fmt.Errorf("--%s-file and --%s-fd are both given", p.Flag, p.Flag),
			"leave one of them out")
	case p.File != "" || p.FD != "":
		if !p.read {
			var err error
			if p.line, err = p.firstLine(); err != nil {
				return nil, fmt.Errorf("passphrase file: %w", err)
			}
			p.read = true
		}
		return p.line, nil
	case term.IsTerminal(fd):
		pass, err := ask(ctx, what+": ")
		if err != nil || !confirm {
			return pass, err
		}
		again, err := ask(ctx, "the same again: ")
		if err == nil && !bytes.Equal(pass, again) {
			err = errors.New("the two passphrases differ")
		}
		return pass, err
	}
	return nil, fault.Hint(fmt.Errorf("no %s", strings.TrimPrefix(what, "the ")), "%s", hint)
}

// maxLine bounds what is read in search of a line's end.
const maxLine = 64 << 10

func (p *PassphraseSource) firstLine() ([]byte, error) {
	var f *os.File
	var err error
	if p.File != "" {
		f, err = os.Open(p.File)
	} else {
		f, err = openDescriptor(p.FD)
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

// Passphrase looks in the environment, then in p.
func (p *PassphraseSource) Passphrase(ctx context.Context) Passphrase {
	return func(key string, confirm bool) ([]byte, error) {
		name := passphraseVariable(key)
		what := "the passphrase of key " + key
		if v, ok := fromEnvironment(ctx, name); ok {
			return notEmpty(bytes.TrimRight([]byte(v), "\r\n"), what) // as from a file
		}
		hint := fmt.Sprintf("set %s, give --%s-file or --%s-fd, or run on a terminal", name, p.Flag, p.Flag)
		return p.Get(ctx, what, hint, confirm)
	}
}

func ask(ctx context.Context, prompt string) ([]byte, error) {
	fmt.Fprint(os.Stderr, prompt)
	b, err := terminal.ReadPassword(ctx, os.Stdin)
	fmt.Fprintln(os.Stderr)
	return b, err
}
