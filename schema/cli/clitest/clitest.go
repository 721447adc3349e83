// Package clitest keeps the help texts of a program as files, so that every change of one is seen in review.
package clitest

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// widest is how many columns a line of help may have.
const widest = 120

// Help compares `--help` of every command of a program with dir/PROGRAM_COMMAND.txt, which update writes. root makes
// the whole tree of commands; it is called for each, since parsing leaves traces. What help must be for any program is
// checked too: a flag's placeholder is one word, lines are not too long, and every command says what it does.
func Help(t *testing.T, root func() *cobra.Command, dir string, update bool) {
	t.Helper()
	want := map[string]bool{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())
		name := filepath.Join(dir, strings.Join(path, "_")+".txt")
		want[name] = true
		text := help(t, root(), path[1:])
		check(t, cmd, text)
		if update {
			write(t, name, text)
		} else if golden, err := os.ReadFile(name); err != nil || text != string(golden) {
			t.Errorf("%s is not what `%s --help` prints, which is:\n%s(-update writes the file)", name, cmd.CommandPath(), text)
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				visit(sub)
			}
		}
	}
	visit(root())
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if want[name] {
			continue
		}
		if !update {
			t.Errorf("%s is of no command", name)
		} else if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func help(t *testing.T, root *cobra.Command, path []string) string {
	t.Helper()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append(path, "--help"))
	if err := root.Execute(); err != nil {
		t.Fatalf("%q --help: %v", path, err)
	}
	return out.String()
}

func check(t *testing.T, cmd *cobra.Command, text string) {
	t.Helper()
	if cmd.Short == "" {
		t.Errorf("`%s` does not say what it does", cmd.CommandPath())
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.TrimSuffix(line, "\n"))); n > widest {
			t.Errorf("`%s --help`: %d columns: %s", cmd.CommandPath(), n, line)
		}
	}
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if placeholder, _ := pflag.UnquoteUsage(f); len(strings.Fields(placeholder)) > 1 {
			t.Errorf("`%s --help`: the placeholder of --%s is %q: want one word", cmd.CommandPath(), f.Name, placeholder)
		}
	})
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
