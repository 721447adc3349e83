package sign

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"bakehouse/schema"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bakehouse": bakehouse})
}

// bakehouse is as much of the program as this package offers.
func bakehouse() {
	root := &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(KeyCommand(), RootCommand())
	err := root.ExecuteContext(context.Background())
	if err != nil {
		fmt.Fprintf(os.Stderr, "bakehouse: error: %v\n", err)
		if h := schema.HintOf(err); h != "" {
			fmt.Fprintf(os.Stderr, "bakehouse: hint: %s\n", h)
		}
	}
	os.Exit(schema.ExitCode(err))
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			for k, v := range map[string]string{
				"XDG_CONFIG_HOME": filepath.Join(env.WorkDir, "config"), "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
				"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
			} {
				env.Setenv(k, v)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// mode PERM FILE checks the file's permission bits, in octal.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				fi, err := os.Stat(ts.MkAbs(args[1]))
				ts.Check(err)
				if got := fmt.Sprintf("%04o", fi.Mode().Perm()); got != args[0] {
					ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
				}
			},
		},
	})
}
