package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"bakehouse/schema"
	"bakehouse/serve/store"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bakehouse": main, "host": host, "sigstore-kms-softhsm": softhsmPlugin, "sigstore-kms-broken": brokenPlugin})
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
		if code != schema.ExitError {
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
	root := command()
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
	root := command()
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
			if code != schema.ExitError || !strings.Contains(stderr, "bakehouse: error: "+tc.want) || !strings.Contains(stderr, "bakehouse: hint: ") {
				t.Errorf("exit code %d: %s", code, stderr)
			}
		})
	}
	t.Run("a settings file that is named but not there", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if code, _, stderr := bakehouse(t, "check", "--config", "nope.yaml"); code != schema.ExitError || !strings.Contains(stderr, "nope.yaml") {
			t.Errorf("exit code %d: %s", code, stderr)
		}
	})
}

func TestAMistypedCommandLineIsOneErrorWithAHint(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"recocnile"}, {"serve", "--lissten", "x"}, {"package"}, {"key", "crate"}, {"key", "create", "a", "b"}} {
		code, stdout, stderr := bakehouse(t, args...)
		if code != schema.ExitError || stdout != "" || strings.Count(stderr, "bakehouse: error: ") != 1 || !strings.Contains(stderr, "bakehouse: hint: ") {
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
	walk(command())
}

// The commands that need the whole program are shown by scripts, which run it as a user does.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not here")
	}
	fleets := &template{dir: t.TempDir()}
	here, err := os.Getwd()
	check(t, err)
	testscript.Run(t, testscript.Params{
		Dir:           "reconcile/testdata/script",
		UpdateScripts: os.Getenv("BAKEHOUSE_TEST_UPDATE") != "", // writes what the programs print into the goldens
		Condition:     condition,
		Setup: func(env *testscript.Env) error {
			for k, v := range map[string]string{
				"HOME": env.WorkDir, "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
				"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
				"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com",
				"BAKEHOUSE_PASSPHRASE_ROOT": "root-secret", "BAKEHOUSE_PASSPHRASE_ONLINE": "online-secret",
				"BAKEHOUSE_PASSPHRASE_RELEASE": "release-secret",
			} {
				env.Setenv(k, v)
			}
			env.Setenv("BAKEHOUSE_KEY_DIR", filepath.Join(env.WorkDir, "private"))
			env.Setenv("BAKEHOUSE_STORE", filepath.Join(env.WorkDir, "store"))
			env.Setenv("BAKEHOUSE_PROGRAMS", filepath.Join(env.WorkDir, "programs"))
			env.Values[stateKey{}] = &scriptState{seen: map[string]string{}, dir: here}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"tmpfs": tmpfs, "readonly": readonly, "writable": writable, "fill": fill, "cptree": copyTree,
			"allow": allow, "hashes": hashes, "web": web, "offline": offline, "asked": asked, "digest": digest, "fill-in": fillIn,
			"debian": debian, "machine": machine, "installs": installs, "softhsm": softhsm, "brokenplugin": usesBroken, "walk": walk, "reported": reported,
			"newfleet": fleets.newFleet, "exits": exits, "git-commit": gitCommit,
			"snapshot": snapshot, "unchanged": unchanged, "flip": flip, "unflip": unflip, "holdlock": holdLock, "droplock": dropLock,
		},
	})
}

type stateKey struct{}

// scriptState is what one script's commands remember.
type scriptState struct {
	seen    map[string]string // content of a directory, by its name
	dir     string            // of this package
	flipped string
	unlock  func() error
	web     *webServer
}

func state(ts *testscript.TestScript) *scriptState { return ts.Value(stateKey{}).(*scriptState) }

// template is the fleet that every script gets a copy of: making keys is slow, as it has to be.
type template struct {
	mu   sync.Mutex
	dir  string
	made bool
}

// newfleet makes the quickstart fleet in "fleet", with keys, root and a stand-in for the host program, and commits it.
func (t *template) newFleet(ts *testscript.TestScript, neg bool, args []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	parts := []string{"fleet", "private", "programs"}
	copyTo := func(from func(string) string, to string) {
		argv := []string{"-a"}
		for _, part := range parts {
			argv = append(argv, from(part))
		}
		ts.Check(ts.Exec("cp", append(argv, to)...))
	}
	if t.made {
		copyTo(func(part string) string { return filepath.Join(t.dir, part) }, ts.MkAbs("."))
		return
	}
	ts.Check(os.Mkdir(ts.MkAbs("programs"), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs("programs/bakehouse-agent-linux-amd64"), []byte(strings.Repeat("a host program\n", 5000)), 0o755))
	must := func(argv ...string) { ts.Check(ts.Exec(argv[0], argv[1:]...)) }
	must("bakehouse", "init", "fleet", "--example", "quickstart", "--url", "https://127.0.0.1:8443")
	ts.Check(ts.Chdir("fleet"))
	must("bakehouse", "key", "create", "root", "--use", "root")
	must("bakehouse", "key", "create", "online", "--use", "targets,snapshot,timestamp")
	must("bakehouse", "key", "create", "release", "--use", "package")
	must("bakehouse", "root", "init")
	must("bakehouse", "upgrade", "--platform", "linux/amd64")
	gitCommit(ts, false, []string{"first"})
	ts.Check(ts.Chdir(".."))
	copyTo(ts.MkAbs, t.dir)
	t.made = true
}

// exits CODE COMMAND… runs a command that must exit with that code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if got := 0; errors.As(err, &exit) {
		got = exit.ExitCode()
		if got != want {
			ts.Fatalf("exit code %d, not %d", got, want)
		}
	} else if err != nil || want != 0 {
		ts.Fatalf("ended with %v, not exit code %d", err, want)
	}
}

func gitCommit(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Exec("git", "add", "-A"))
	ts.Check(ts.Exec("git", "commit", "-q", "-m", args[0]))
}

// allow FILE KEY… makes FILE a list of SSH keys that may sign as the committer of every script.
func allow(ts *testscript.TestScript, neg bool, args []string) {
	var lines strings.Builder
	for _, key := range args[1:] {
		lines.WriteString("a@example.com " + ts.ReadFile(key+".pub"))
	}
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[0])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(lines.String()), 0o644))
}

// hashes FILE sets HASH to a file's sha256 in hex and SHORT to its first 16 digits.
func hashes(ts *testscript.TestScript, neg bool, args []string) {
	d := schema.DigestOf([]byte(ts.ReadFile(args[0])))
	ts.Setenv("HASH", d.Hex())
	ts.Setenv("SHORT", d.Short())
}

// content is a directory's files and their bytes, without what only locks and leaves no trace for a reader.
func content(ts *testscript.TestScript, dir string) string {
	var b strings.Builder
	ts.Check(filepath.WalkDir(ts.MkAbs(dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %s\n", path, schema.DigestOf(data))
		return err
	}))
	return b.String()
}

func snapshot(ts *testscript.TestScript, neg bool, args []string) {
	state(ts).seen[args[0]] = content(ts, args[0])
}

func unchanged(ts *testscript.TestScript, neg bool, args []string) {
	if was, is := state(ts).seen[args[0]], content(ts, args[0]); was != is {
		ts.Fatalf("%s changed from\n%s\nto\n%s", args[0], was, is)
	}
}

// flip DIR changes a bit in every file below DIR; unflip puts them back.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	state(ts).flipped = ts.MkAbs(args[0])
	unflip(ts, neg, nil)
}

func unflip(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(filepath.WalkDir(state(ts).flipped, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		return os.WriteFile(path, b, 0o600)
	}))
}

func holdLock(ts *testscript.TestScript, neg bool, args []string) {
	st, err := store.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	unlock, err := store.Lock(context.Background(), st)
	ts.Check(err)
	state(ts).unlock = unlock
	ts.Defer(func() { dropLock(ts, false, nil) })
}

func dropLock(ts *testscript.TestScript, neg bool, args []string) {
	if unlock := state(ts).unlock; unlock != nil {
		state(ts).unlock = nil
		ts.Check(unlock())
	}
}
