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
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"

	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// blocks are the shell commands of the README's section "By hand": the operator's, the server's and the host's.
func blocks(t *testing.T) (operator, server, host string) {
	t.Helper()
	b, err := os.ReadFile("../README.md")
	check(t, err)
	_, section, ok := strings.Cut(string(b), "\n## By hand\n")
	section, _, end := strings.Cut(section, "\n## ")
	found := regexp.MustCompile("(?s)\n```sh\n(.*?)```").FindAllStringSubmatch(section, -1)
	if !ok || !end || len(found) != 3 {
		t.Fatalf("the README's section \"By hand\" has %d blocks of commands, not 3", len(found))
	}
	return found[0][1], found[1][1], found[2][1]
}

// TestTheReadmesCommandsByHandAreTrue runs them as they stand, in bash. What differs from a real fleet is this:
//
//   - the server's name and port are 127.0.0.1 and a free one, and /srv/bakehouse is a temporary folder;
//   - ~ is a temporary home with the checkout in src/bakehouse; Go's caches are shared;
//   - what is asked for on a terminal comes from the environment;
//   - the server's certificate is signed by an authority that this test makes; SSL_CERT_FILE makes it a public one;
//   - the host is this machine under an overlay that is thrown away, in a mount namespace of its own.
//
// A TUF client that knows nothing of Bakehouse then refreshes from the same server and downloads the host's package.
func TestTheReadmesCommandsByHandAreTrue(t *testing.T) {
	t.Parallel() // it waits for other programs
	needs.All(t, "installs a package on a copy of this machine")
	needs.Root(t, "entering the copy")
	needs.Tools(t, "bash", "git", "go", "dpkg", "unshare", "chroot")
	if _, err := os.Lstat(schema.StateDir); err == nil {
		needs.Missing(t, "this machine is a host itself: %s is here", schema.StateDir)
	}
	h := newHand(t)
	operator, server, host := blocks(t)
	for _, block := range []*string{&operator, &server, &host} {
		*block = h.replace(*block)
	}
	h.shell(t, h.home, operator)
	h.serve(t, server)
	t.Run("host", func(t *testing.T) { h.host(t, host) })
	t.Run("stock TUF client", h.stockClient)
}

// hand is the place where the commands are run.
type hand struct {
	dir  string // temporary
	home string
	url  string
	ca   []byte
	env  []string
}

func newHand(t *testing.T) *hand {
	t.Helper()
	h := &hand{dir: t.TempDir()}
	h.home = filepath.Join(h.dir, "home")
	checkout, err := filepath.Abs("..")
	check(t, err)
	check(t, os.MkdirAll(filepath.Join(h.home, "bin"), 0o755))
	check(t, os.MkdirAll(filepath.Join(h.home, "src"), 0o755))
	check(t, os.Symlink(checkout, filepath.Join(h.home, "src", "bakehouse")))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	h.url = "https://" + l.Addr().String()
	check(t, l.Close())

	password := filepath.Join(h.dir, "password")
	check(t, os.WriteFile(password, []byte("let me in\n"), 0o600))
	h.env = append(needs.Home(t, h.home), "PATH="+filepath.Join(h.home, "bin")+":"+os.Getenv("PATH"),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_SYSTEM="+os.DevNull,
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"BAKEHOUSE_PASSPHRASE_ROOT=r", "BAKEHOUSE_PASSPHRASE_ONLINE=o", "BAKEHOUSE_PASSPHRASE_RELEASE=p",
		"BAKEHOUSE_ACCESS_ADD_PASSWORD_FILE="+password)
	h.certificate(t)
	return h
}

func (h *hand) replace(block string) string {
	return strings.NewReplacer("https://bakehouse.example:8443", h.url, "--listen :8443", "--listen "+strings.TrimPrefix(h.url, "https://"),
		"/srv/bakehouse", filepath.Join(h.dir, "srv")).Replace(block)
}

// certificate makes server.pem and server.key where the server runs, and the authority that signed them.
func (h *hand) certificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a public authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	check(t, err)
	h.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	der, err = x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	for name, b := range map[string][]byte{"ca.pem": h.ca, "server.pem": h.ca,
		"server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})} {
		check(t, os.WriteFile(filepath.Join(h.dir, name), b, 0o600))
	}
}

// shell runs commands in bash, each of which must succeed, and returns what they print.
func (h *hand) shell(t *testing.T, dir, commands string) string {
	t.Helper()
	cmd := exec.Command("bash", "-euxo", "pipefail", "-c", commands)
	cmd.Dir, cmd.Env = dir, h.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	return string(out)
}

// serve starts the server, and ends it as an operator would when the test is over.
func (h *hand) serve(t *testing.T, commands string) {
	t.Helper()
	cmd := exec.Command("bash", "-euc", "exec "+strings.TrimSpace(commands))
	cmd.Dir, cmd.Env = h.dir, h.env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the server ended with %v:\n%s", err, &stderr)
		}
	})
	if want := "listening on " + h.url; lines.Text() != want {
		t.Fatalf("the server says %q, not %q", lines.Text(), want)
	}
}

// host runs commands as root on a throw-away copy of this machine, and keeps what they changed in dir/changed. The copy
// is in memory, for overlays do not stack on one another (containers), and dir is mounted into it, for it may not be on the
// root's file system (/tmp in memory).
func (h *hand) host(t *testing.T, commands string) {
	for _, d := range []string{"changed", "over", "root"} {
		check(t, os.Mkdir(filepath.Join(h.dir, d), 0o755))
	}
	enter := `mount -t tmpfs tmpfs over
mkdir over/upper over/work
mount -t overlay overlay -o lowerdir=/,upperdir=over/upper,workdir=over/work root
mkdir -p "root$PWD"
mount --bind . "root$PWD"
mount --rbind /proc root/proc
mount --rbind /dev root/dev
code=0
chroot root bash -euxo pipefail -c "cd '$PWD/home/fleet'
$1" || code=$?
cp -a over/upper/. changed
exit $code`
	cmd := exec.Command("unshare", "--mount", "bash", "-euc", enter, "host", commands)
	cmd.Dir = h.dir
	cmd.Env = append(h.env, "BAKEHOUSE_PASSWORD=let me in", "SSL_CERT_FILE="+filepath.Join(h.dir, "ca.pem"))
	out, err := cmd.CombinedOutput()
	if err != nil && bytes.Contains(out, []byte("mount: ")) {
		needs.Missing(t, "no overlay of this machine's root: %s", out)
	}
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{
		"registered: web01 at " + h.url, "signatures: accepted release", "updated: web01 runs release 1, package ",
		`state\s+current`, `installed\s+bakehouse-agent .* \(deb\), release 1`, `server\s+` + regexp.QuoteMeta(h.url),
	} {
		if !regexp.MustCompile(want).Match(out) {
			t.Errorf("the host does not say %q:\n%s", want, out)
		}
	}
	if secret := h.secret(t); strings.Contains(string(out), secret) {
		t.Error("the host prints its secret")
	}
	b, err := os.ReadFile(filepath.Join(h.dir, "changed/etc/vitals.conf"))
	if err != nil || !strings.Contains(string(b), "DISK=") {
		t.Errorf("the agent's settings are %q, %v", b, err)
	}
}

func (h *hand) secret(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, "changed", schema.StateDir, "state.json"))
	check(t, err)
	var state struct {
		Registration struct{ Secret string }
	}
	check(t, json.Unmarshal(b, &state))
	if state.Registration.Secret == "" {
		t.Fatal("the host has no secret")
	}
	return state.Registration.Secret
}

// asHost is the one thing that a stock client must be given: a host's credentials.
type asHost struct {
	http.RoundTripper
	secret string
}

func (c asHost) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth("web01", c.secret)
	return c.RoundTripper.RoundTrip(r)
}

// stockClient is go-tuf's own updater with web01's credentials.
func (h *hand) stockClient(t *testing.T) {
	if _, err := os.Stat(filepath.Join(h.dir, "changed", schema.StateDir)); err != nil {
		needs.Missing(t, "no host was registered")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(h.ca)
	transport := asHost{&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, h.secret(t)}
	fleet := filepath.Join(h.home, "fleet")
	anchor, err := os.ReadFile(filepath.Join(fleet, "trust/1.root.json"))
	check(t, err)
	c, err := config.New(h.url+schema.MetadataPath, anchor)
	check(t, err)
	check(t, c.SetDefaultFetcherTransport(transport))
	check(t, c.SetDefaultFetcherRetry(time.Millisecond, 1)) // it also retries the 404 of the next root
	c.RemoteTargetsURL = h.url + schema.TargetPath
	c.LocalMetadataDir, c.LocalTargetsDir = t.TempDir(), t.TempDir()
	client, err := updater.New(c)
	check(t, err)
	check(t, client.Refresh())
	target, err := client.GetTargetInfo(schema.PackageTarget("web01"))
	check(t, err)
	_, got, err := client.DownloadTarget(target, "", "")
	check(t, err)
	want, err := os.ReadFile(filepath.Join(fleet, "web01.deb"))
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("the package has %d bytes, `bakehouse package` writes %d others", len(got), len(want))
	}

	// db01's package is another one; web02's is the very same, but not web01's to ask for.
	h.shell(t, fleet, h.replace("bakehouse package get db01 --store /srv/bakehouse -o db01.deb"))
	other, err := os.ReadFile(filepath.Join(fleet, "db01.deb"))
	check(t, err)
	for host, b := range map[string][]byte{"db01": other, "web02": want} {
		if info, err := client.GetTargetInfo(schema.PackageTarget(host)); err == nil {
			if _, b, err := client.DownloadTarget(info, "", ""); err == nil {
				t.Errorf("web01 can download %d bytes for %s", len(b), host)
			}
		}
		path := fmt.Sprintf("%s%s%s/%s.package", h.url, schema.TargetPath, host, schema.DigestOf(b).Hex())
		r, err := (&http.Client{Transport: transport}).Get(path)
		check(t, err)
		r.Body.Close()
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("web01 asks for %s: %s", path, r.Status)
		}
	}
}
