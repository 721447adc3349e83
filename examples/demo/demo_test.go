package demo_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// build builds bakehouse once, as a user's `go run .` does.
var build = sync.OnceValues(func() (exe string, err error) {
	dir, err := os.MkdirTemp("", "bakehouse-test-")
	if err != nil {
		return "", err
	}
	exe = filepath.Join(dir, "bakehouse")
	// Which is the program when it is called so, with cheap keys.
	cmd := exec.Command("go", "test", "-c", "-ldflags=-s", "-o", exe, ".")
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		return exe, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return exe, nil
})

func TestMain(m *testing.M) {
	needs.Memory()
	code := m.Run()
	if exe, _ := build(); exe != "" {
		os.RemoveAll(filepath.Dir(exe))
	}
	os.Exit(code)
}

// perform runs the demo with an empty TMPDIR and sends an interrupt when it has printed text. It expects it to leave
// nothing behind.
func perform(t *testing.T, interruptAt string, hit func(printed string), args ...string) (stdout, stderr string,
	err error) {
	t.Helper()
	if runtime.GOOS != "linux" {
		needs.Missing(t, "the host program runs on Linux only")
	}
	exe, err := build()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	cmd := exec.Command(exe, append([]string{"demo"}, args...)...)
	cmd.Dir = "../.."
	cmd.Env = append(needs.Home(t, filepath.Dir(exe)), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errs bytes.Buffer
	w := &watcher{text: interruptAt}
	w.hit = func() {
		if hit != nil {
			hit(w.seen.String())
		}
		_ = syscall.Kill(cmd.Process.Pid, syscall.SIGINT)
	}
	cmd.Stdout, cmd.Stderr = w, &errs
	err = cmd.Run()
	home, readErr := os.ReadDir(filepath.Dir(exe))
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, e := range home {
		if e.Name() != filepath.Base(exe) {
			t.Errorf("it wrote into the user's home: %s", e.Name())
		}
	}
	left, readErr := os.ReadDir(tmp)
	if readErr != nil {
		t.Fatal(readErr)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), "bakehouse-") {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	return w.seen.String(), errs.String(), err
}

func TestTheDemoHoldsEveryStepKeepsItsServerUpAndLeavesNothingBehind(t *testing.T) {
	healthy := false
	out, stderr, err := perform(t, "Press Ctrl-C", func(printed string) { healthy = answers(t, printed) }, "--keep")
	if err != nil || !healthy {
		t.Fatalf("healthy %t, %v\n%s%s", healthy, err, out, stderr)
	}
	words := strings.Join(strings.Fields(out), " ")
	for _, want := range []string{"Every step held", "No valid signature found", "is altered",
		"the site is behind by 3 versions"} {
		if !strings.Contains(words, want) {
			t.Errorf("the demo does not say %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "Refused (exit code 3)."); n != 3 {
		t.Errorf("%d refusals instead of 3:\n%s", n, out)
	}
	for line := range strings.Lines(out) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 120 && strings.Contains(strings.TrimSpace(line), " ") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

// answers reports whether the server that the demo keeps up says that it is well.
func answers(t *testing.T, printed string) bool {
	t.Helper()
	folder := regexp.MustCompile(`(?m)^ +(/\S+/bakehouse-demo-\S+)$`).FindStringSubmatch(printed)
	url := regexp.MustCompile(`The server stays up at (https://[^;]+);`).FindStringSubmatch(printed)
	if folder == nil || url == nil {
		t.Errorf("no URL:\n%s", printed)
		return false
	}
	ca, err := os.ReadFile(filepath.Join(folder[1], "tls", "ca.pem"))
	if err != nil {
		t.Error(err)
		return false
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	r, err := client.Get(url[1] + schema.HealthPath)
	if err != nil {
		t.Error(err)
		return false
	}
	defer r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// An interrupt may come at any moment: here while a child is waited for, while files are half written, while the server
// runs.
func TestAnInterruptCleansUp(t *testing.T) {
	moments := []string{"$ bakehouse upgrade", "listening on"}
	if needs.Everything() {
		moments = append(moments, "$ bakehouse init", "$ bakehouse reconcile", "hosts/web01 update")
	}
	for _, at := range moments {
		t.Run(at, func(t *testing.T) {
			t.Parallel() // they wait for the disk, mostly
			out, stderr, err := perform(t, at, nil)
			if err == nil || !strings.Contains(stderr, "interrupted") {
				t.Errorf("interrupted demo: %v\n%s%s", err, out, stderr)
			}
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
