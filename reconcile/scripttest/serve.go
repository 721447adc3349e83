package scripttest

import (
	"bufio"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// server is a `bakehouse serve` of a script.
type server struct {
	cmd     *exec.Cmd
	address string
}

func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// servers are those that run, by their scripts.
type servers struct {
	mu      sync.Mutex
	running map[*testscript.TestScript]*server
}

// serve starts `bakehouse serve` on the store in $WORK/store and sets $SERVER to its URL, $SERVED to the location of
// the store behind it for the user ci, whose password is in $WORK/ci.secret. Said again, it kills the server and starts
// it again at the same address.
func (s *servers) serve(ts *testscript.TestScript, _ bool, _ []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	address, before := "127.0.0.1:0", s.running[ts]
	if before != nil {
		before.kill()
		address = before.address
	}
	cmd := exec.Command("bakehouse", "serve", "--store", ts.MkAbs("../store"), "--listen", address,
		"--tls-self-signed", ts.MkAbs("../tls"), "--root", "trust/1.root.json",
		"--log-level", "error", "--watch", "50ms")
	cmd.Dir, cmd.Env = ts.MkAbs("."), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + ts.Getenv("HOME")}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		ts.Fatalf("the server did not start: %v", errors.Join(err, cmd.Wait()))
	}
	at := strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	if before == nil {
		before = &server{}
		ts.Defer(before.kill)
		s.running[ts] = before
	}
	*before = server{cmd, strings.TrimPrefix(at, "https://")}
	ts.Setenv("SERVER", at)
	q := url.Values{"user": {"ci"}, "password-file": {ts.MkAbs("../ci.secret")}, "ca": {ts.MkAbs("../tls/ca.pem")}}
	ts.Setenv("SERVED", at+"?"+q.Encode())
}
