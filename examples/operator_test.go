package examples_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// password of the user "ops", who may register hosts in these tests.
const password = "loaf-of-rye"

// operator is someone who copied an example into a git repo and runs Bakehouse's commands on it.
type operator struct {
	t         *testing.T
	program   string // bakehouse
	repo      string // work tree of the fleet repo
	store     string
	source    string // this checkout
	home      string
	cert      string // files of the server's certificate and key
	key       string
	url       string       // of the server
	authority string       // its certificate, PEM
	client    *http.Client // believes the server's certificate
	keys      []namedKey
}

// built has bakehouse and bakehouse-agent, which are linked once for all tests: that takes seconds of a processor.
var built = sync.OnceValues(func() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "bakehouse-test-"); err != nil {
		return "", err
	}
	out, err := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s", "-o", dir, "bakehouse",
		"bakehouse/agent/cmd/bakehouse-agent").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, err
})

func programs(t *testing.T) string {
	t.Helper()
	dir, err := built()
	builtIn = dir
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var builtIn string // is removed at the end

func TestMain(m *testing.M) {
	needs.Memory()
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

// newOperator copies an example, with a server at that address and a user who may register.
func newOperator(t *testing.T, example string, listen netip.AddrPort) *operator {
	t.Helper()
	dir := t.TempDir()
	o := &operator{t: t, program: filepath.Join(programs(t), "bakehouse"), repo: filepath.Join(dir, "fleet"),
		store: filepath.Join(dir, "store"),
		home:  filepath.Join(dir, "home"), keys: keys, cert: filepath.Join(dir, "server.pem"),
		key: filepath.Join(dir, "server.key")}
	if err := os.CopyFS(o.repo, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(o.home, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.source, err = filepath.Abs(".."); err != nil {
		t.Fatal(err)
	}
	o.authority = o.certify(listen.Addr())
	o.write("server.cue", fmt.Sprintf("package fleet\n\nurl: \"https://%s\"\ncertificates: [\"\"\"\n\t%s\n\t\"\"\"]\n",
		listen, strings.ReplaceAll(strings.TrimSpace(o.authority), "\n", "\n\t")))
	secret := filepath.Join(dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.write("access.cue", "package fleet\n\n"+o.run("access", "add", "ops", "--permission", "register", "--password-file", secret))
	o.url = "https://" + listen.String()
	o.git("init", "--quiet", "--initial-branch=main")
	return o
}

// certify makes an authority and a server's certificate for an address, and returns the authority's as PEM.
func (o *operator) certify(addr netip.Addr) string {
	o.t.Helper()
	must := func(err error) {
		o.t.Helper()
		if err != nil {
			o.t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(err)
		return k
	}
	from, to := time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour)
	caKey, serverKey := newKey(), newKey()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	server := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "test server"}, NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{addr.AsSlice()}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, ca, serverKey.Public(), caKey)
	must(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	must(err)
	authority, err := x509.ParseCertificate(caDER)
	must(err)
	believed := x509.NewCertPool()
	believed.AddCert(authority)
	o.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: believed}}}
	must(os.WriteFile(o.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serverDER}), 0o600))
	must(os.WriteFile(o.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}))
}

// command prepares the program, in the repo, as someone with an empty home and the keys' passphrases.
func (o *operator) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(o.t.Context(), name, args...)
	cmd.Dir, cmd.Env = o.repo, o.env()
	return cmd
}

func (o *operator) env() []string {
	o.t.Helper()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.home, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=op", "GIT_AUTHOR_EMAIL=op@example.com", "GIT_COMMITTER_NAME=op", "GIT_COMMITTER_EMAIL=op@example.com"}
	env = append(env, needs.GoCaches(o.t)...)
	for _, k := range o.keys {
		env = append(env, "BAKEHOUSE_PASSPHRASE_"+strings.ToUpper(k.name)+"=passphrase of "+k.name)
	}
	return env
}

// run runs a command of Bakehouse that must succeed and returns what it wrote to stdout.
func (o *operator) run(args ...string) string {
	o.t.Helper()
	cmd := o.command(o.program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		o.t.Fatalf("bakehouse %s: %v\n%s%s", strings.Join(args, " "), err, &stdout, &stderr)
	}
	o.t.Logf("$ bakehouse %s\n%s%s", strings.Join(args, " "), &stderr, &stdout)
	return stdout.String()
}

// reconcile runs a pass into the operator's store, which the first one creates.
func (o *operator) reconcile(flags ...string) {
	o.t.Helper()
	args := append([]string{"reconcile", "--store", o.store}, flags...)
	if _, err := os.Stat(filepath.Join(o.store, schema.TimestampDir)); err != nil {
		args = append(args, "--init")
	}
	o.run(args...)
}

// fails runs a command of Bakehouse that must end with that exit code, and returns what it wrote to stderr.
func (o *operator) fails(code int, args ...string) string {
	o.t.Helper()
	cmd := o.command(o.program, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != code {
		o.t.Fatalf("bakehouse %s: %v, not exit code %d\n%s", strings.Join(args, " "), err, code, &stderr)
	}
	return stderr.String()
}

func (o *operator) git(args ...string) {
	o.t.Helper()
	if out, err := o.command("git", args...).CombinedOutput(); err != nil {
		o.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (o *operator) commit(message string) {
	o.t.Helper()
	o.git("add", "--all")
	o.git("commit", "--quiet", "--message", message)
}

// keys of the fleets in these tests, as the examples' README creates them.
var keys = []namedKey{
	{"offline", "root"},
	{"online", "targets,snapshot,timestamp"},
	{"release", "package"},
}

type namedKey struct{ name, uses string }

func (o *operator) createKeys() {
	o.t.Helper()
	for _, k := range o.keys {
		o.run("key", "create", k.name, "--use", k.uses)
	}
	o.run("root", "init")
}

func (o *operator) write(path, text string) {
	o.t.Helper()
	if err := os.WriteFile(filepath.Join(o.repo, path), []byte(text), 0o644); err != nil {
		o.t.Fatal(err)
	}
}

// replace changes a text that must stand exactly once in a file of the repo. Replacing it by itself changes nothing.
func (o *operator) replace(path, old, new string) {
	o.t.Helper()
	b, err := os.ReadFile(filepath.Join(o.repo, path))
	if err != nil {
		o.t.Fatal(err)
	}
	if n := strings.Count(string(b), old); n != 1 {
		o.t.Fatalf("%s has %q %d times", path, old, n)
	}
	o.write(path, strings.Replace(string(b), old, new, 1))
}

// serve starts the server and waits until it says that it listens. It ends with the test, by the signal that a service
// manager sends, and must then end well.
func (o *operator) serve(listen netip.AddrPort) (stop func()) {
	o.t.Helper()
	cmd := exec.Command(o.program, "serve", "--store", o.store, "--listen", listen.String(), "--tls-cert", o.cert, "--tls-key", o.key,
		"--root", filepath.Join(o.repo, "trust/1.root.json"), "--watch", "100ms", "--database", filepath.Join(filepath.Dir(o.store), "inventory.db"))
	cmd.Env, cmd.Dir = o.env(), filepath.Dir(o.store)
	var log bytes.Buffer // read after Wait only
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		o.t.Fatal(err)
	}
	wait, err := startTied(cmd)
	if err != nil {
		o.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			o.t.Errorf("stop the server: %v", err)
		}
		if err := wait(); err != nil {
			o.t.Errorf("the server ended with %v", err)
		}
		if o.t.Failed() {
			o.t.Logf("the server's log:\n%s", &log)
		}
	})
	o.t.Cleanup(stop)
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if want := "listening on " + o.url; err != nil || !strings.Contains(line, want) {
		o.t.Fatalf("the server says %q (%v) and not %q", line, err, want)
	}
	return stop
}

// health is what the server says of itself.
type health struct {
	Status    string
	Timestamp int64
	Problem   string
}

// served is the version of the timestamp that the server hands out.
func (o *operator) served() int64 {
	o.t.Helper()
	return o.health().Timestamp
}

func (o *operator) health() (h health) {
	o.t.Helper()
	resp, err := o.client.Get(o.url + schema.HealthPath)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&h); err != nil {
		o.t.Fatal(err)
	}
	return h
}

// untilServed waits until the server has noticed that release.
func (o *operator) untilServed(timestamp int64) {
	o.t.Helper()
	o.untilHealth(fmt.Sprintf("timestamp %d", timestamp), func(h health) bool { return h.Timestamp >= timestamp })
}

func (o *operator) untilHealth(what string, is func(health) bool) {
	o.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !is(o.health()); {
		select {
		case <-tick.C:
		case <-deadline:
			o.t.Fatalf("the server never came to %s: %+v", what, o.health())
		}
	}
}
