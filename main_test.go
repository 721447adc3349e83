package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/keys/keystest"
	"bakehouse/reconcile/manual"
	"bakehouse/reconcile/scripttest"
	"bakehouse/reconcile/settings"
	"bakehouse/schema/cli/clitest"
	"bakehouse/schema/fault"
	"bakehouse/serve/inventory"

	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

var update = flag.Bool("update", false, "write the files that are made from the commands")

func TestMain(m *testing.M) {
	needs.Memory()
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

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What settings do is shown in their package; here that this program has them.
func TestFlagsAreFilledFromTheSettings(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "bakehouse.yaml", "store: shared\ncommands: {store fsck: {json: true}}\n")
	code, _, stderr := bakehouse(t, "store", "fsck", "-v")
	if code != fault.ExitError || !strings.Contains(stderr,
		"bakehouse: detail: setting --store=shared from bakehouse.yaml:1:8\n") ||
		!strings.Contains(stderr, "bakehouse: detail: setting --json=true from bakehouse.yaml:2:31\n") ||
		!strings.Contains(stderr, `{"error":"`) {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	t.Setenv("BAKEHOUSE_STORE", "by-environment")
	if _, _, stderr := bakehouse(t, "store", "fsck"); !strings.Contains(stderr, "by-environment") {
		t.Errorf("the environment does not count: %s", stderr)
	}
	t.Setenv("BAKEHOUSE_STROE", "x")
	if code, _, stderr := bakehouse(t, "store", "fsck"); code != fault.ExitError ||
		!strings.Contains(stderr, "BAKEHOUSE_STROE") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, args := range [][]string{{}, {"store"}, {"version"}, {"help", "store"}, {"completion", "bash"},
		{"__complete", "st"}} {
		if code, stdout, stderr := bakehouse(t, args...); code != fault.ExitOK || stdout == "" {
			t.Errorf("%q needs no settings, and ends with %d: %s", args, code, stderr)
		}
	}
}

// Two settings with one name would be set together, whoever meant which.
func TestNoTwoSettingsShareAVariable(t *testing.T) {
	who := map[string]string{"BAKEHOUSE_CONFIG": "the settings file", "BAKEHOUSE_PASSWORD": "the host program"}
	claim := func(variable, name string) {
		if other, taken := who[variable]; taken && other != name {
			t.Errorf("%s is of %s and of %s", variable, other, name)
		}
		who[variable] = name
		rest, passphrase := strings.CutPrefix(variable, "BAKEHOUSE_PASSPHRASE_")
		if passphrase && rest != "FILE" && rest != "FD" {
			t.Errorf("%s is of %s and of a key", variable, name)
		}
		for _, ignored := range []string{"BAKEHOUSE_CI_", "BAKEHOUSE_TEST_"} {
			if strings.HasPrefix(variable, ignored) {
				t.Errorf("%s is of %s and ignored", variable, name)
			}
		}
	}
	kinds := map[string]string{} // of shared settings
	flags := 0
	settings.Walk(rootCommand(), func(c *cobra.Command, all []*pflag.Flag) {
		for _, f := range all {
			own, shared := settings.Variables(c, f)
			claim(shared, "--"+f.Name)
			if c.HasParent() {
				claim(own, c.CommandPath()+" --"+f.Name)
			}
			flags++
			if settings.ClassOf(f) == settings.Once {
				continue
			}
			if kind := kinds[f.Name]; kind != "" && kind != f.Value.Type() {
				t.Errorf("the shared setting %s is %s of %s and %s of another command", f.Name, f.Value.Type(), c.CommandPath(),
					kind)
			}
			kinds[f.Name] = f.Value.Type()
		}
	})
	if flags < 100 {
		t.Errorf("only %d flags were looked at", flags)
	}
}

// What a change under review may set for its own job says how something is told and how much of the machine it takes.
func TestWhatTheRepositoryMaySetDecidesNothingThatIsTrustedOrLost(t *testing.T) {
	harmless := []string{"assemble", "cache-size", "format", "jobs", "json", "key-notice", "key-warning", "log-format",
		"log-level", "max-connections", "max-connections-per-address", "prefetch", "quiet", "shutdown-timeout",
		"verbose", "watch"}
	var plain []string
	settings.Walk(rootCommand(), func(c *cobra.Command, all []*pflag.Flag) {
		for _, f := range all {
			if settings.ClassOf(f) == settings.Plain && !slices.Contains(plain, f.Name) {
				plain = append(plain, f.Name)
			}
		}
	})
	slices.Sort(plain)
	if !slices.Equal(plain, harmless) {
		t.Errorf("a bakehouse.yaml in the repository may set %v; known as harmless are %v", plain, harmless)
	}
	t.Chdir(t.TempDir())
	if out, err := exec.Command("git", "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for command, setting := range map[string]string{"store gc": "keep: 1", "serve": "listen: \":0\""} {
		write(t, "bakehouse.yaml", setting+"\n")
		code, _, stderr := bakehouse(t, append(strings.Fields(command), "--store", "nowhere")...)
		if code != fault.ExitRefused || !strings.Contains(stderr, "error: bakehouse.yaml:1:") {
			t.Errorf("%s: exit code %d: %s", setting, code, stderr)
		}
	}
}

const tableOfSettings = ".github/SETTINGS.md"

func TestTheTableOfSettingsIsWhatTheFlagsAre(t *testing.T) {
	t.Setenv("HOME", t.TempDir()) // defaults below it are shown with a ~
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	want := manual.Settings(rootCommand())
	if *update {
		if err := os.WriteFile(tableOfSettings, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(tableOfSettings); err != nil || string(got) != want {
		t.Errorf("%s is not what the flags are (-update writes it): %v", tableOfSettings, err)
	}
}

func TestVersion(t *testing.T) {
	if code, stdout, _ := bakehouse(t, "version"); code != fault.ExitOK ||
		!strings.HasPrefix(stdout, "bakehouse "+version+" ") {
		t.Errorf("version: %d, %q", code, stdout)
	}
	if code, stdout, _ := bakehouse(t, "--version"); code != fault.ExitOK || stdout != "bakehouse version "+version+"\n" {
		t.Errorf("--version: %d, %q", code, stdout)
	}
	var b struct{ Version, Platform string }
	if code, stdout, _ := bakehouse(t, "version", "--json"); code != fault.ExitOK ||
		json.Unmarshal([]byte(stdout), &b) != nil ||
		b.Version != version || b.Platform != runtime.GOOS+"/"+runtime.GOARCH {
		t.Errorf("version --json: %d, %q", code, stdout)
	}
}

func TestShellsCompleteValues(t *testing.T) {
	dir := t.TempDir()
	repo := filepath.Join(dir, "fleet")
	if code, _, stderr := bakehouse(t, "init", "--example", "quickstart", repo); code != fault.ExitOK {
		t.Fatal(stderr)
	}
	t.Setenv("BAKEHOUSE_PASSPHRASE_RELEASE", "p")
	t.Setenv("BAKEHOUSE_KEY_DIR", filepath.Join(dir, "private"))
	if code, _, stderr := bakehouse(t, "key", "create", "release", "--use", "package", "--repo",
		repo); code != fault.ExitOK {
		t.Fatal(stderr)
	}
	t.Chdir(dir)
	t.Setenv("BAKEHOUSE_REPO", repo)
	for line, want := range map[string][]string{
		"key show ":                         {"release"},
		"key export rel":                    {"release"},
		"key show release ":                 {},
		"key create --use root,t":           {"root,targets", "root,timestamp"},
		"key create --type ed":              {"ed25519"},
		"explain d":                         {"db01"},
		"explain --repo fleet w":            {"web01", "web02"},
		"explain --repo nowhere w":          {},
		"plugin show node":                  {"node_exporter"},
		"plugin show vi":                    {"vitals"},
		"plan --format m":                   {"markdown"},
		"check --format gi":                 {"github", "gitlab"},
		"serve --log-level ":                {"debug", "info", "warn", "error"},
		"init --example q":                  {"quickstart"},
		"upgrade --platform linux/s":        {"linux/s390x"},
		"reconcile --verify-commits=":       {"head", "all"},
		"store gc ":                         {},
		"key list --json ":                  {},
		"access add ops --permission down":  {"download"},
		"host add web09 --platform darwin/": {"darwin/amd64", "darwin/arm64"},
	} {
		words := strings.Split(line, " ")
		code, stdout, stderr := bakehouse(t, append([]string{"__completeNoDesc"}, words...)...)
		got := strings.Fields(stdout)
		if code != fault.ExitOK || len(got) == 0 || got[len(got)-1] != ":4" { // no files
			t.Errorf("%q: %d, %q, %s", line, code, stdout, stderr)
			continue
		}
		if got = got[:len(got)-1]; !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	for _, line := range []string{"reconcile --repo ", "init ", "serve --store "} {
		if _, stdout, _ := bakehouse(t, append([]string{"__completeNoDesc"},
			strings.Split(line, " ")...)...); stdout != ":16\n" {
			t.Errorf("%q: %q, want directories", line, stdout)
		}
	}
	if _, stdout, _ := bakehouse(t, "__completeNoDesc", "key", "import", "release", ""); stdout != ":0\n" {
		t.Errorf("key import: %q, want files", stdout)
	}
}

func TestAMistypedCommandLineIsOneErrorWithAHint(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"recocnile"}, {"serve", "--lissten", "x"}, {"package", "get"}, {"key", "crate"},
		{"key", "create", "a", "b"}} {
		code, stdout, stderr := bakehouse(t, args...)
		if code != fault.ExitError || stdout != "" || strings.Count(stderr, "bakehouse: error: ") != 1 ||
			!strings.Contains(stderr, "bakehouse: hint: ") {
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
	scripttest.Run(t, "reconcile/testdata/script", map[string]scripttest.Command{"served": served})
}

// served FILE VERSION notes in a server's database that the server has served that timestamp.
func served(ts *testscript.TestScript, neg bool, args []string) {
	db, err := inventory.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	version, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Check(db.Serve(context.Background(), inventory.Served{Timestamp: version, File: []byte("{}"), At: time.Now()}))
	ts.Check(db.Close())
}

// The difference of these files is what a reviewer reads of a change to the command line.
func TestHelpOfEveryCommand(t *testing.T) {
	t.Setenv("HOME", t.TempDir()) // defaults below it are the same for everybody
	t.Setenv("XDG_CONFIG_HOME", "/home/operator/.config")
	t.Setenv("XDG_CACHE_HOME", "/home/operator/.cache")
	clitest.Help(t, rootCommand, "reconcile/command/testdata/help", *update)
}

// fleetRepo is a fleet with keys and a root, and the environment that commands on it need. The program is this test's
// binary, which PATH has as bakehouse: see TestMain.
type fleetRepo struct {
	dir string
	env []string
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newFleetRepo(t *testing.T) *fleetRepo {
	t.Helper()
	needs.Tool(t, "git")
	top := t.TempDir()
	f := &fleetRepo{dir: filepath.Join(top, "fleet")}
	programs := filepath.Join(top, "programs")
	check(t, os.Mkdir(programs, 0o755))
	check(t, os.WriteFile(filepath.Join(programs, "bakehouse-agent-linux-amd64"),
		bytes.Repeat([]byte("a host program\n"), 5000), 0o755))
	f.env = append(os.Environ(), "HOME="+top, "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"BAKEHOUSE_PASSPHRASE_ROOT=r", "BAKEHOUSE_PASSPHRASE_ONLINE=o", "BAKEHOUSE_PASSPHRASE_RELEASE=p",
		"BAKEHOUSE_KEY_DIR="+filepath.Join(top, "private"), "BAKEHOUSE_PROGRAMS="+programs)
	check(t, os.Mkdir(f.dir, 0o755))
	for _, line := range []string{"bakehouse init --example quickstart", "bakehouse key create root --use root",
		"bakehouse key create online --use targets,snapshot,timestamp", "bakehouse key create release --use package",
		"bakehouse root init", "bakehouse upgrade --platform linux/amd64", "git add -A", "git commit -q -m first"} {
		f.must(t, strings.Fields(line)...)
	}
	return f
}

func (f *fleetRepo) command(argv ...string) *exec.Cmd {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = f.dir, f.env
	return cmd
}

func (f *fleetRepo) must(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := f.command(argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return string(out)
}

// names lists a store's objects, in folders of it if any are given; temporary files and locks begin with a dot.
func names(dir string, folders ...string) (names []string) {
	if folders == nil {
		folders = []string{"."}
	}
	for _, folder := range folders {
		_ = fs.WalkDir(os.DirFS(dir), folder, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil || name == ".":
			case strings.HasPrefix(d.Name(), ".") && d.IsDir():
				return fs.SkipDir
			case d.Type().IsRegular() && !strings.HasPrefix(d.Name(), "."):
				names = append(names, name)
			}
			return nil
		})
	}
	return names
}

// A pass is ended by Ctrl-C, SIGTERM and SIGKILL when its k-th object has appeared. What is published is the old
// release or the new one, fsck finds no error, and the next pass ends as if nothing had happened: with the same
// packages.
func TestAPassThatIsInterruptedAtAnyObjectConverges(t *testing.T) {
	t.Parallel() // it waits for the disk
	f := newFleetRepo(t)
	whole := filepath.Join(t.TempDir(), "store")
	f.must(t, "bakehouse", "reconcile", "--init", "--store", whole)
	total := len(names(whole))
	packages := names(whole, "manifests", "segments")
	if total < 64 {
		t.Fatalf("a first release has only %d objects", total)
	}
	interrupted := 0
	at := []int{1, 4, 9, 20, 50, total - 3, total - 1}
	for i := 0; i < len(at) || interrupted < 3 && i < 20*len(at); i++ { // on a busy machine a pass may outrun its observer
		k := at[i%len(at)]
		signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGINT, syscall.SIGTERM}[i%3]
		t.Run(fmt.Sprintf("%s at object %d", signal, k), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			if f.interrupt(t, dir, k, signal) {
				interrupted++
			}
			f.must(t, "bakehouse", "store", "fsck", "--store", dir)
			again := []string{"bakehouse", "reconcile", "--store", dir}
			if _, err := os.Stat(filepath.Join(dir, schema.TimestampKey(1))); err != nil {
				again = append(again, "--init")
			}
			if out := f.must(t, again...); !strings.Contains(out, "release 1 ") {
				t.Errorf("the next pass says:\n%s", out)
			}
			f.must(t, "bakehouse", "store", "fsck", "--store", dir)
			if got := names(dir, "manifests", "segments"); !slices.Equal(got, packages) {
				t.Errorf("the store has the packages %q, not %q", got, packages)
			}
		})
	}
	if interrupted < 3 {
		t.Errorf("only %d passes were interrupted before their end", interrupted)
	}
}

// interrupt starts a pass and signals it once the store has k objects. It reports whether the pass was ended by that.
func (f *fleetRepo) interrupt(t *testing.T, dir string, k int, signal syscall.Signal) bool {
	t.Helper()
	cmd := f.command("bakehouse", "reconcile", "--init", "--store", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	check(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	for running := true; running; {
		select {
		case err = <-ended:
			running = false
		default:
			if len(names(dir)) < k {
				continue
			}
			_ = cmd.Process.Signal(signal)
			err, running = <-ended, false
		}
	}
	if err == nil {
		return false // it was done before the signal came
	}
	_, statErr := os.Stat(filepath.Join(dir, schema.TimestampKey(1)))
	if published := !errors.Is(statErr, fs.ErrNotExist); published && signal != syscall.SIGKILL {
		t.Errorf("the pass failed, and its release is published: %v\n%s", err, &stderr)
	}
	if signal == syscall.SIGKILL {
		return true
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != fault.ExitError ||
		strings.Count(stderr.String(), "bakehouse: error: ") != 1 || !strings.Contains(stderr.String(), "bakehouse: hint: ") {
		t.Errorf("interrupted, the pass ended with %v:\n%s", err, &stderr)
	}
	return true
}
