package demo

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// stage is where the demo plays: a folder, the children that run, and what they are told.
type stage struct {
	out    io.Writer
	dir    string
	source string
	env    map[string]string // passphrases and passwords, for children only
	act    int
	cwd    string // where the last command ran: "." or "fleet"
	url    string
	server *server
	first  map[string]standing // of each host, after its first installation
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

// note says something about what happens, below the act's title.
func (s *stage) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	indent := "   " + text[:len(text)-len(strings.TrimLeft(text, " "))]
	s.lines(indent, indent, "", strings.TrimSpace(text))
}

// columns is how wide the demo's text is.
const columns = 120

// lines wraps text at words: the first line begins with first, the others with rest, and all but the last end in end.
func (s *stage) lines(first, rest, end, text string) {
	if len([]rune(first+text)) <= columns {
		s.say("%s", first+text)
		return
	}
	line, width := first, len([]rune(first))
	empty := true
	for word := range strings.FieldsSeq(text) {
		n := len([]rune(word))
		if !empty && width+1+n+len(end) > columns {
			s.say("%s", line+end)
			line, width, empty = rest, len([]rune(rest)), true
		}
		if !empty {
			line, width = line+" ", width+1
		}
		line, width, empty = line+word, width+n, false
	}
	s.say("%s", line)
}

// child builds a command that lives in a process group of its own: an interrupt at the terminal reaches the demo alone,
// which then ends its children in order.
func (s *stage) child(ctx context.Context, dir string, argv []string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s.enter(dir)
	s.lines("   $ ", "       ", " \\", commandLine(argv))
	switch argv[0] {
	case "bakehouse":
		argv = append([]string{self}, argv[1:]...)
	case "bakehouse-agent":
		argv = append([]string{s.path("bin/bakehouse-agent")}, argv[1:]...)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = s.path(dir)
	cmd.Env = os.Environ()
	for _, k := range slices.Sorted(maps.Keys(s.env)) {
		cmd.Env = append(cmd.Env, k+"="+s.env[k])
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}

// enter shows the change to the folder, relative to the demo's, in which the next command runs.
func (s *stage) enter(dir string) {
	if s.cwd == "" {
		s.cwd = "."
	}
	if dir == s.cwd {
		return
	}
	to := dir
	if dir == "." {
		to = ".."
	}
	s.cwd = dir
	s.note("$ cd %s", to)
}

// commandLine is argv as a shell takes it.
func commandLine(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		words[i] = w
	}
	return strings.Join(words, " ")
}

// result is what a finished child said.
type result struct {
	stdout, stderr string
	code           int
}

// call runs a command to its end, whatever its exit code.
func (s *stage) call(ctx context.Context, dir string, argv ...string) (result, error) {
	cmd, err := s.child(ctx, dir, argv)
	if err != nil {
		return result{}, err
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil {
		return result{}, ctx.Err()
	}
	if err != nil && !errors.As(err, &exit) {
		return result{}, err
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}, nil
}

// must runs a command that has to succeed, and shows what it said.
func (s *stage) must(ctx context.Context, dir string, argv ...string) (result, error) {
	r, err := s.call(ctx, dir, argv...)
	if err != nil {
		return r, err
	}
	if r.code != 0 {
		return r, fmt.Errorf("`%s` exited with %d:\n%s%s", strings.Join(argv, " "), r.code, r.stdout, r.stderr)
	}
	return r, nil
}

// refused runs a command that has to refuse (exit code 3), and shows its error, which must contain why.
func (s *stage) refused(ctx context.Context, why, dir string, argv ...string) error {
	r, err := s.call(ctx, dir, argv...)
	if err != nil {
		return err
	}
	if r.code != fault.ExitRefused {
		return fmt.Errorf("`%s` exited with %d instead of refusing with %d:\n%s%s", strings.Join(argv, " "), r.code,
			fault.ExitRefused, r.stdout, r.stderr)
	}
	if !strings.Contains(r.stderr, why) {
		return fmt.Errorf("`%s` refused without saying %q:\n%s", strings.Join(argv, " "), why, r.stderr)
	}
	s.echo(r.stderr)
	s.note("Refused (exit code %d).", r.code)
	return nil
}

// echo shows the lines that a command printed.
func (s *stage) echo(text string) {
	for line := range strings.Lines(text) {
		s.lines("     ", "       ", "", strings.TrimRight(line, "\n"))
	}
}

// server is a `bakehouse serve` that runs until it is stopped.
type server struct {
	cmd    *exec.Cmd
	stderr *bytes.Buffer
	done   chan error
	// terminate asks it to end, once: an interrupt of the demo does so too, and a second signal would not wait for it.
	terminate func() error
}

// serve starts a server and waits until it says where it listens.
func (s *stage) serve(ctx context.Context, argv ...string) (url string, err error) {
	cmd, err := s.child(ctx, ".", argv)
	if err != nil {
		return "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	srv := &server{cmd: cmd, stderr: &bytes.Buffer{}, done: make(chan error, 1),
		terminate: sync.OnceValue(func() error { return cmd.Process.Signal(syscall.SIGTERM) })}
	cmd.Cancel = srv.terminate
	cmd.Stderr = srv.stderr
	if err := cmd.Start(); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			go func() {
				_, _ = io.Copy(io.Discard, stdout)
				srv.done <- cmd.Wait()
			}()
			s.server = srv
			return url, nil
		}
	}
	err = cmd.Wait()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	return "", fmt.Errorf("the server did not start: %v\n%s", err, srv.stderr)
}

// stopServer ends the server as an operator would, and expects it to end well.
func (s *stage) stopServer() error {
	srv := s.server
	if srv == nil {
		return nil
	}
	s.server = nil
	_ = srv.terminate()
	if err := <-srv.done; err != nil {
		return fmt.Errorf("the server ended with %w\n%s", err, srv.stderr)
	}
	return nil
}

// stopAll ends what still runs; the demo calls it last, whatever happened.
func (s *stage) stopAll() error {
	if err := s.stopServer(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// noticed waits until the server hands out the timestamp of that version; it looks at its store every few seconds.
func (s *stage) noticed(ctx context.Context, timestamp int64) error {
	ca, err := os.ReadFile(s.path("tls/ca.pem"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+schema.HealthPath, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("the server does not answer: %w", err)
		}
		var health struct {
			Timestamp int64 `json:"timestamp"`
		}
		err = errors.Join(json.NewDecoder(resp.Body).Decode(&health), resp.Body.Close())
		if err != nil || health.Timestamp >= timestamp {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the server did not notice timestamp %d: %w", timestamp, ctx.Err())
		}
	}
}
