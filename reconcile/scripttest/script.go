// Package scripttest has what the scripts of reconcile/testdata/script are made of: a fleet with keys, a store that is
// altered or locked, a vendor's web server, a throw-away machine to install on, an HSM, and a host that verifies. The
// scripts run the real program; main_test.go starts them, and no program links this.
package scripttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/store/stores"
)

// Command is a command of scripts.
type Command = func(ts *testscript.TestScript, neg bool, args []string)

// Programs are what scripts can run besides the program under test, by name.
func Programs() map[string]func() {
	return map[string]func(){"host": host, "updater": updater,
		"sigstore-kms-softhsm": softhsmPlugin, "sigstore-kms-broken": brokenPlugin}
}

// Run runs the scripts in dir, below the top of the checkout, with more commands of the caller's.
func Run(t *testing.T, dir string, more map[string]Command) {
	needs.Tool(t, "git")
	fleets := &template{dir: t.TempDir()}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string]Command{
		"tmpfs": tmpfs, "readonly": readonly, "writable": writable, "fill": fill, "cptree": copyTree,
		"allow": allow, "hashes": hashes, "web": web, "offline": offline, "asked": asked, "digest": digest, "fill-in": fillIn,
		"debian": debian, "machine": machine, "installs": installs, "softhsm": softhsm, "brokenplugin": usesBroken, "walk": walk,
		"peer": peer, "guide": guide, "s3": startS3,
		"serve":    (&servers{running: map[*testscript.TestScript]*server{}}).serve,
		"newfleet": fleets.newFleet, "exits": exits, "git-commit": gitCommit,
		"snapshot": snapshot, "unchanged": unchanged, "flip": flip, "unflip": unflip, "holdlock": holdLock, "droplock": dropLock,
	}
	maps.Copy(commands, more)
	some := files(dir)
	if some != nil {
		dir = ""
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, Files: some,
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
			env.Setenv("EXAMPLES", filepath.Join(here, "examples"))
			env.Setenv("BAKEHOUSE_KEY_DIR", filepath.Join(env.WorkDir, "private"))
			env.Setenv("BAKEHOUSE_STORE", filepath.Join(env.WorkDir, "store"))
			env.Setenv("BAKEHOUSE_PROGRAMS", filepath.Join(env.WorkDir, "programs"))
			env.Values[stateKey{}] = &scriptState{seen: map[string]string{}, dir: here}
			return nil
		},
		Cmds: commands,
	})
}

type stateKey struct{}

// scriptState is what one script's commands remember.
type scriptState struct {
	seen    map[string]string // content of a directory, by its name
	dir     string            // top of the checkout
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
	location := args[0]
	if !stores.Remote(location) {
		location = ts.MkAbs(location)
	}
	st, err := stores.Open(context.Background(), location)
	ts.Check(err)
	held, err := st.Lock(context.Background(), "test")
	ts.Check(err)
	state(ts).unlock = held.Release
	ts.Defer(func() { dropLock(ts, false, nil) })
}

func dropLock(ts *testscript.TestScript, neg bool, args []string) {
	if unlock := state(ts).unlock; unlock != nil {
		state(ts).unlock = nil
		ts.Check(unlock())
	}
}
