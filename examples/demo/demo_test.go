package demo_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// program builds bakehouse as a user's `go run .` does.
func program(t *testing.T) (exe, checkout string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the host program runs on Linux only")
	}
	checkout, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	exe = filepath.Join(t.TempDir(), "bakehouse")
	cmd := exec.Command("go", "build", "-o", exe, ".")
	cmd.Dir = checkout
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exe, checkout
}

func TestTheDemoHoldsEveryStepAndLeavesNothingBehind(t *testing.T) {
	exe, checkout := program(t)
	tmp := t.TempDir()
	cmd := exec.Command(exe, "demo")
	cmd.Dir = checkout
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"Every step held", "No valid signature found", "is altered", "older"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	if n := strings.Count(string(out), "Refused (exit code 3)."); n != 4 {
		t.Errorf("%d refusals instead of 4:\n%s", n, out)
	}
	empty(t, tmp)
}

// An interrupt may come at any moment; the demo is stopped at each line that it prints in turn, up to a number that
// covers children that are waited for, the server, and files half written.
func TestAnInterruptCleansUp(t *testing.T) {
	exe, checkout := program(t)
	for _, after := range []string{"$ bakehouse init", "$ bakehouse upgrade", "$ bakehouse reconcile", "listening on", "hosts/web01 update"} {
		t.Run(after, func(t *testing.T) {
			tmp := t.TempDir()
			cmd := exec.Command(exe, "demo")
			cmd.Dir = checkout
			cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			var stderr bytes.Buffer
			w := &watcher{text: after, hit: func() { _ = syscall.Kill(cmd.Process.Pid, syscall.SIGINT) }}
			cmd.Stdout, cmd.Stderr = w, &stderr
			err := cmd.Run()
			if err == nil || !strings.Contains(stderr.String(), "interrupted") {
				t.Errorf("interrupted demo: %v\n%s%s", err, w.seen.String(), stderr.String())
			}
			empty(t, tmp)
		})
	}
}

// watcher calls hit once, when text has been written.
type watcher struct {
	text string
	hit  func()
	seen bytes.Buffer
	done bool
}

func (w *watcher) Write(b []byte) (int, error) {
	w.seen.Write(b)
	if !w.done && strings.Contains(w.seen.String(), w.text) {
		w.done = true
		w.hit()
	}
	return len(b), nil
}

func empty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "bakehouse-") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
}
