package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

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
	check(t, os.WriteFile(filepath.Join(programs, "bakehouse-agent-linux-amd64"), bytes.Repeat([]byte("a host program\n"), 5000), 0o755))
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

// A pass is ended by Ctrl-C, SIGTERM and SIGKILL when its k-th object has appeared. What is published is the old release
// or the new one, fsck finds no error, and the next pass ends as if nothing had happened: with the same packages.
func TestAPassThatIsInterruptedAtAnyObjectConverges(t *testing.T) {
	t.Parallel() // it waits for the disk
	f := newFleetRepo(t)
	whole := filepath.Join(t.TempDir(), "store")
	f.must(t, "bakehouse", "reconcile", "--store", whole)
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
			if out := f.must(t, "bakehouse", "reconcile", "--store", dir); !strings.Contains(out, "release 1 ") {
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
	cmd := f.command("bakehouse", "reconcile", "--store", dir)
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
