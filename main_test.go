package main

import (
	"bytes"
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/keys/keystest"
	"bakehouse/reconcile/scripttest"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestMain(m *testing.M) {
	programs := scripttest.Programs()
	programs["bakehouse"] = func() {
		keystest.Cheap()
		main()
	}
	testscript.Main(m, programs)
}

// bakehouse runs the program in an empty directory.
func bakehouse(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestASettingIsTakenFromTheFlagThenTheEnvironmentThenTheFileThenTheDefault(t *testing.T) {
	t.Chdir(t.TempDir())
	// `package` names the store that it cannot find, which shows what the flag became.
	store := func(args ...string) string {
		t.Helper()
		code, _, stderr := bakehouse(t, append([]string{"store", "fsck"}, args...)...)
		if code != fault.ExitError {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		for _, name := range []string{"by-flag", "by-own-environment", "by-environment", "by-own-section", "by-file"} {
			if strings.Contains(stderr, name) {
				return name
			}
		}
		return "default"
	}
	if got := store(); got != "default" {
		t.Errorf("nothing set: %s", got)
	}
	file := "store: by-file\n"
	if err := os.WriteFile("bakehouse.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := store(); got != "by-file" {
		t.Errorf("file: %s", got)
	}
	t.Setenv("BAKEHOUSE_STORE", "by-environment")
	if got := store(); got != "by-environment" {
		t.Errorf("environment over file: %s", got)
	}
	t.Setenv("BAKEHOUSE_STORE_FSCK_STORE", "by-own-environment")
	if got := store(); got != "by-own-environment" {
		t.Errorf("a command's own setting over a shared one: %s", got)
	}
	if got := store("--store", "by-flag"); got != "by-flag" {
		t.Errorf("flag over all: %s", got)
	}
}

func TestASettingStandsInTheSectionOfItsCommand(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("bakehouse.yaml", []byte("package: {store: by-own-section}\nserve: {store: elsewhere}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	cmd, _, err := root.Find([]string{"package"})
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(root, cmd); err != nil {
		t.Fatal(err)
	}
	if got := cmd.Flag("store").Value.String(); got != "by-own-section" {
		t.Errorf("store = %q", got)
	}
}

// `reconcile --plan` and the command `plan` share a name, as do `--store` and `store`.
func TestACommandsSectionIsNoSettingOfAFlagThatIsCalledLikeIt(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("bakehouse.yaml", []byte("plan: {base: main}\nstore: {fsck: {store: elsewhere}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := rootCommand()
	cmd, _, err := root.Find([]string{"reconcile"})
	if err != nil {
		t.Fatal(err)
	}
	if err := settle(root, cmd); err != nil {
		t.Fatal(err)
	}
	if plan, store := cmd.Flag("plan").Value.String(), cmd.Flag("store").Value.String(); plan != "" || store != "store" {
		t.Errorf("plan = %q, store = %q", plan, store)
	}
}

func TestBadSettingsAreRefusedWithAHint(t *testing.T) {
	for name, tc := range map[string]struct{ file, want string }{
		"an unknown setting":    {"serve: {lissten: x}\n", `settings: bakehouse.yaml: unknown setting "serve.lissten"`},
		"an unknown section":    {"sevre: {listen: x}\n", `settings: bakehouse.yaml: unknown setting "sevre.listen"`},
		"what is no YAML":       {"serve: {listen\n", "settings: "},
		"a value of wrong type": {"reconcile: {json: maybe}\n", "setting reconcile.json: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if err := os.WriteFile("bakehouse.yaml", []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
			code, _, stderr := bakehouse(t, "reconcile")
			if code != fault.ExitError || !strings.Contains(stderr, "bakehouse: error: "+tc.want) || !strings.Contains(stderr, "bakehouse: hint: ") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	t.Run("a settings file that is named but not there", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if code, _, stderr := bakehouse(t, "check", "--config", "nope.yaml"); code != fault.ExitError || !strings.Contains(stderr, "nope.yaml") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestAMistypedCommandLineIsOneErrorWithAHint(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"recocnile"}, {"serve", "--lissten", "x"}, {"package"}, {"key", "crate"}, {"key", "create", "a", "b"}} {
		code, stdout, stderr := bakehouse(t, args...)
		if code != fault.ExitError || stdout != "" || strings.Count(stderr, "bakehouse: error: ") != 1 || !strings.Contains(stderr, "bakehouse: hint: ") {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q", args, code, stdout, stderr)
		}
	}
}

// Help is what users read first, so every command and flag has one.
func TestEveryCommandAndFlagIsExplained(t *testing.T) {
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(rootCommand())
}

// The commands that need the whole program are shown by scripts, which run it as a user does.
func TestScripts(t *testing.T) {
	scripttest.Run(t, "reconcile/testdata/script", map[string]scripttest.Command{"reported": reported})
}

// reported FILE HOST VERSION notes in a server's database that the host has verified that timestamp.
func reported(ts *testscript.TestScript, neg bool, args []string) {
	db, err := inventory.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	version, err := strconv.ParseInt(args[2], 10, 64)
	ts.Check(err)
	ts.Check(db.Report(args[1], inventory.Seen{At: time.Now(), Timestamp: version, Root: 1}))
	ts.Check(db.Close())
}
