package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Whoever lists processes while a host registers finds no password.
func TestAPasswordOnTheCommandLineIsWarnedAboutAndClearedFromTheProcessTitle(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "bakehouse-agent") // by which name TestMain is the program
	if err := os.Symlink(exe, program); err != nil {
		t.Fatal(err)
	}
	const secret = "correct horse battery"
	for _, flag := range [][]string{{"--password", secret}, {"--password=" + secret}} {
		l, err := net.Listen("tcp", "127.0.0.1:0") // which never answers
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c := exec.Command(program, append([]string{"register", "--root", t.TempDir(), "--server",
			"https://" + l.Addr().String(),
			"--host", "web01", "--user", "ops", "--skip-signatures"}, flag...)...)
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", c.Process.Pid))
		conn.Close()
		if kerr := c.Process.Kill(); kerr != nil {
			t.Error(kerr)
		}
		_ = c.Wait()
		if err != nil || bytes.Contains(title, []byte("correct")) || bytes.Contains(title, []byte("battery")) ||
			!bytes.Contains(title, []byte("--password")) {
			t.Errorf("the process is %q, %v", title, err)
		}
		if !strings.Contains(stderr.String(), "warning: others on this host could read the password of --password") ||
			strings.Contains(stderr.String(), "battery") {
			t.Errorf("it says %q", &stderr)
		}
	}
}

func TestAPasswordOnTheCommandLineIsTheOneThatIsSent(t *testing.T) {
	t.Parallel()
	given := strings.Clone("correct horse")
	got, err := passwordFrom{given: clearFromTitle(given)}.read(nil, "ops")
	if got != "correct horse" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}
