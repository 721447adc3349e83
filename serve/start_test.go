package serve

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/startup"
)

func TestAServerListensBeforeItCanServeAndAsksHostsToComeAgain(t *testing.T) {
	f, _ := standardFleet(t)
	mute, err := net.Listen("tcp", "127.0.0.1:0") // a database that never answers
	check(t, err)
	defer mute.Close()
	bin := filepath.Join(t.TempDir(), "bakehouse")
	self, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(self, bin))
	cmd := exec.CommandContext(t.Context(), bin, "serve", "--store", f.dir, "--listen", "127.0.0.1:0",
		"--tls-self-signed", filepath.Join(t.TempDir(), "tls"),
		"--database", "postgres://nobody@"+mute.Addr().String()+"/none?sslmode=disable")
	stderr, err := cmd.StderrPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewScanner(stderr)
	var found []string
	for found == nil && lines.Scan() {
		found = regexp.MustCompile(`listening; .* address=(\S+)`).FindStringSubmatch(lines.Text())
	}
	if found == nil {
		t.Fatal("it does not listen")
	}
	_, err = mute.Accept() // it is as far as that
	check(t, err)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, path := range []string{schema.ReadyPath, schema.HealthPath, schema.MetadataPath + "timestamp.json", "/"} {
		a, err := client.Get("https://" + found[1] + path)
		check(t, err)
		body, err := io.ReadAll(a.Body)
		check(t, err)
		a.Body.Close()
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(body), "the server is starting") {
			t.Errorf("%s: %d %v %s", path, a.StatusCode, a.Header, body)
		}
	}
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	var rest []string
	for lines.Scan() {
		rest = append(rest, lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to end before it serves: %v\n%s", err, rest)
	}
}

func TestSystemdIsToldHowTheServiceIs(t *testing.T) {
	f, _ := standardFleet(t)
	dir, err := os.MkdirTemp("", "notify") // short: a socket's path has 108 bytes
	check(t, err)
	defer os.RemoveAll(dir)
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "s"), Net: "unixgram"})
	check(t, err)
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "s"))
	t.Setenv("WATCHDOG_USEC", "30000")
	_, cmd, _, stderr := program(t, "serve", "--store", f.dir, "--listen", "127.0.0.1:0",
		"--tls-self-signed", filepath.Join(t.TempDir(), "tls"), "--database", filepath.Join(t.TempDir(), "i.db"))
	next := func(want string) {
		t.Helper()
		var seen []string
		for b := make([]byte, 1000); !slices.Contains(seen, want); {
			check(t, socket.SetReadDeadline(time.Now().Add(time.Minute)))
			n, err := socket.Read(b)
			if err != nil {
				t.Fatalf("%v; it said %q, not %q\n%s", err, seen, want, stderr)
			}
			seen = append(seen, string(b[:n]))
		}
	}
	next(startup.Verifying)
	next(startup.Ready)
	next(startup.Alive)
	check(t, cmd.Process.Signal(syscall.SIGHUP))
	next(startup.Reloading)
	next(startup.Ready)
	next(startup.Alive)
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	next(startup.Stopping)
	check(t, cmd.Wait())
}
