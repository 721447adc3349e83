package sign

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"bakehouse/schema"
)

// Passphrase returns the passphrase of a key. confirm asks for it twice, for a key that is being made.
type Passphrase func(key string, confirm bool) ([]byte, error)

func passphraseVariable(key string) string {
	return "BAKEHOUSE_PASSPHRASE_" + strings.Map(func(r rune) rune {
		if r == '-' || r == '.' {
			return '_'
		}
		return r
	}, strings.ToUpper(key))
}

// Passphrases looks in the environment (BAKEHOUSE_PASSPHRASE_<KEY>), then in the file if one is given, then asks on the
// terminal. An empty passphrase is refused: it would encrypt, to no purpose.
func Passphrases(file string) Passphrase {
	return func(key string, confirm bool) ([]byte, error) {
		pass, err := findPassphrase(file, key, confirm)
		if err != nil {
			return nil, err
		}
		if len(pass) == 0 {
			return nil, schema.Hint(fmt.Errorf("the passphrase of key %s is empty", key), "choose one that is not")
		}
		return pass, nil
	}
}

func findPassphrase(file, key string, confirm bool) ([]byte, error) {
	if v, ok := os.LookupEnv(passphraseVariable(key)); ok {
		return []byte(v), nil
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("passphrase file: %w", err)
		}
		line, _, _ := bytes.Cut(b, []byte("\n"))
		return bytes.TrimSuffix(line, []byte("\r")), nil
	}
	if fd := int(os.Stdin.Fd()); term.IsTerminal(fd) {
		pass, err := ask(fd, "passphrase of key "+key+": ")
		if err != nil || !confirm {
			return pass, err
		}
		again, err := ask(fd, "the same again: ")
		if err == nil && !bytes.Equal(pass, again) {
			err = errors.New("the two passphrases differ")
		}
		return pass, err
	}
	return nil, schema.Hint(fmt.Errorf("no passphrase for key %s", key),
		"set %s, give --passphrase-file, or run on a terminal", passphraseVariable(key))
}

func ask(fd int, prompt string) ([]byte, error) {
	fmt.Fprint(os.Stderr, prompt)
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	return b, err
}
