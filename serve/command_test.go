package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"bakehouse/reconcile/keys/keystest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/serve/access"
	"bakehouse/serve/ask"
	"bakehouse/serve/certificate"
	"bakehouse/serve/inventory"
	"bakehouse/serve/inventory/inventorytest"
	"bakehouse/serve/inventory/transfer"
	"bakehouse/serve/startup"
	"bakehouse/serve/token"
)

// main is `bakehouse` with this package's commands only.
func programMain() {
	root := &cobra.Command{Use: "bakehouse", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Command(), access.Command(), ask.Token(), ask.Audit(), ask.Doctor(), ask.Release(), ask.Rollout())
	host := &cobra.Command{Use: "host"}
	host.AddCommand(ask.HostVerbs()...)
	root.AddCommand(transfer.Command())
	root.AddCommand(host)
	err := root.ExecuteContext(context.Background())
	if err != nil {
		fmt.Fprintf(os.Stderr, "bakehouse: error: %v\n", err)
		if h := fault.HintOf(err); h != "" {
			fmt.Fprintf(os.Stderr, "bakehouse: hint: %s\n", h)
		}
	}
	os.Exit(fault.ExitCode(err))
}

// liveMain is `live DATABASE HOST SECRET`: the host registers again, and polls.
func liveMain() {
	ctx := context.Background()
	db, err := inventory.Open(ctx, os.Args[1])
	if err == nil {
		_, err = db.Register(ctx, inventory.Registration{Host: os.Args[2], Secret: schema.DigestOf([]byte(os.Args[3])),
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}, At: time.Now()}, inventory.Claim{Replace: true})
	}
	if err == nil {
		err = errors.Join(db.Report(os.Args[2], inventory.Seen{At: time.Now()}), db.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func TestMain(m *testing.M) {
	needs.Memory()
	keystest.Cheap()
	testscript.Main(inventorytest.Main{M: m}, map[string]func(){"bakehouse": programMain, "live": liveMain})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			f, _ := standardFleet(t)
			if err := os.WriteFile(filepath.Join(env.WorkDir, "root.json"), f.Anchor, 0o644); err != nil {
				return err
			}
			// DATABASE has a registration of web01, and a join token with the ID TOKEN.
			db, err := inventory.Open(t.Context(), filepath.Join(env.WorkDir, "inventory.db"))
			check(t, err)
			_, err = db.Register(t.Context(), inventory.Registration{Host: "web01", Secret: schema.DigestOf([]byte("x")),
				Platform: schema.Platform{OS: "linux", Arch: "amd64"}, At: time.Now()}, inventory.Claim{})
			check(t, err)
			made, _, err := token.New(token.Spec{Uses: 1, TTL: "1h"}, "@root", nil, time.Now())
			check(t, errors.Join(err, db.CreateToken(t.Context(), made), db.Close()))
			env.Setenv("DATABASE", filepath.Join(env.WorkDir, "inventory.db"))
			env.Setenv("TOKEN", made.ID)
			return os.CopyFS(filepath.Join(env.WorkDir, "store"), os.DirFS(f.dir))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// occupy ENV listens on a free port and puts its address into ENV.
			"occupy": func(ts *testscript.TestScript, _ bool, args []string) {
				l, err := startup.Listen(context.Background(), "127.0.0.1:0")
				ts.Check(err)
				ts.Defer(func() { l.Close() })
				ts.Setenv(args[0], l.Addr().String())
			},
		},
	})
}

// program starts this test binary as `bakehouse` and returns once it listens.
func program(t *testing.T, args ...string) (url string, cmd *exec.Cmd, stdout *bufio.Reader, stderr *lockedBuffer) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "bakehouse")
	self, err := os.Executable()
	check(t, err)
	check(t, os.Symlink(self, bin)) // testscript.Main goes by the name
	cmd = exec.CommandContext(t.Context(), bin, args...)
	stderr = &lockedBuffer{}
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	stdout = bufio.NewReader(out)
	line, err := stdout.ReadString('\n')
	if err != nil {
		_ = cmd.Wait()
		t.Fatalf("%v: %s", err, stderr)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("first line %q", line)
	}
	return url, cmd, stdout, stderr
}

func TestTheProgramServesUntilToldToStopAndFinishesWhatItBegan(t *testing.T) {
	f, packs := standardFleet(t)
	dir := t.TempDir()
	args := []string{"serve", "--store", f.dir, "--listen", "127.0.0.1:0", "--tls-self-signed", filepath.Join(dir, "tls"),
		"--database", filepath.Join(dir, "inventory.db"), "--log-format", "json"}
	url, cmd, stdout, stderr := program(t, args...)

	pem, err := os.ReadFile(filepath.Join(dir, "tls", certificate.CAFile))
	check(t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, ExpectContinueTimeout: time.Minute}}
	ask := func(c caller, method, path string, body io.Reader) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, url+path, body)
		check(t, err)
		req.SetBasicAuth(c.name, c.secret)
		resp, err := client.Do(req)
		check(t, err)
		t.Cleanup(func() { resp.Body.Close() })
		return resp
	}
	b, err := json.Marshal(registration("web01"))
	check(t, err)
	resp := ask(installer, http.MethodPost, schema.RegisterPath, strings.NewReader(string(b)))
	var a schema.RegisterAnswer
	check(t, json.NewDecoder(resp.Body).Decode(&a))

	// A request in flight: its body is only sent once the handler has begun to read it.
	body, more := io.Pipe()
	answered := make(chan int)
	go func() {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, url+schema.PollPath, body)
		req.SetBasicAuth("web01", a.Secret)
		req.Header.Set("Expect", "100-continue")
		resp, err := client.Do(req)
		if err != nil {
			answered <- 0
			return
		}
		resp.Body.Close()
		answered <- resp.StatusCode
	}()
	_, err = io.WriteString(more, `{"schema":{"min":1,"max":1},`)
	check(t, err)
	check(t, cmd.Process.Signal(syscall.SIGTERM))
	stderr.wait(t, "shutting down")
	_, err = io.WriteString(more, `"timestamp":1}`)
	check(t, err)
	check(t, more.Close())
	if status := <-answered; status != http.StatusNoContent {
		t.Errorf("the request in flight got %d", status)
	}
	rest, err := io.ReadAll(stdout)
	check(t, err)
	if err := cmd.Wait(); err != nil || len(rest) > 0 {
		t.Errorf("%v, more on stdout: %q", err, rest)
	}
	for line := range strings.Lines(stderr.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a log line is not JSON: %s", line)
		}
	}
	if strings.Contains(stderr.String(), a.Secret) || strings.Contains(stderr.String(), password) {
		t.Error("a secret stands in the log")
	}

	// The next one knows the host, and serves what is published while it runs.
	url, cmd, _, _ = program(t, append(args, "--root", filepath.Join(f.dir, schema.MetadataKey("root", 1)))...)
	if resp := ask(caller{"web01", a.Secret}, http.MethodGet, schema.ManifestPath+packs["web01"].manifest.Hex(), nil); resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("after a restart: %s %s", resp.Status, resp.Proto)
	}
	check(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
