package examples_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
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

// walkthrough is what the README's two sections on a first host and a first change have a reader type.
type walkthrough struct{ start, serve, host, change string }

func readWalkthrough(t *testing.T) (w walkthrough) {
	t.Helper()
	b, err := os.ReadFile("../README.md")
	check(t, err)
	text := string(b)
	section := func(title string, blocks ...*string) {
		_, section, ok := strings.Cut(text, "\n## "+title+"\n")
		section, _, end := strings.Cut(section, "\n## ")
		found := shellBlock.FindAllStringSubmatch(section, -1)
		if !ok || !end || len(found) != len(blocks) {
			t.Fatalf("the README's section %q has %d blocks of commands, not %d", title, len(found), len(blocks))
		}
		for i, b := range blocks {
			*b = found[i][1]
		}
	}
	section("From a clone to an updated host", &w.start, &w.serve, &w.host)
	section("Your own hosts, your first change", &w.change)
	if !strings.Contains(text, "(`"+updateNow+"` checks at once)") {
		t.Errorf("the README does not say `%s`", updateNow)
	}
	return w
}

// updateNow is how the first change arrives at once.
const updateNow = "bakehouse-agent update -v"

// TestTheReadmesCommandsAreTrue runs them as they are, in bash, and then what `bakehouse init` prints is compared with
// them. What differs from a real fleet is this:
//
//   - the server is 127.0.0.1 and its port a free one;
//   - ~ is a temporary home with the checkout in src/bakehouse; Go's caches are shared;
//   - what is asked for on a terminal comes from the environment;
//   - the host is this machine under an overlay that is thrown away, in a mount namespace of its own.
//
// A TUF client that knows nothing of Bakehouse then refreshes from the same server and downloads the host's package.
func TestTheReadmesCommandsAreTrue(t *testing.T) {
	t.Parallel() // it waits for other programs
	needs.All(t, "compiles the programs and installs a package on a copy of this machine")
	needs.Root(t, "mounting")
	needs.Tools(t, "bash", "git", "go", "openssl", "dpkg", "unshare", "chroot")
	if _, err := os.Lstat(schema.StateDir("linux")); err == nil {
		needs.Missing(t, "this machine is a host itself: %s exists", schema.StateDir("linux"))
	}
	h := newHand(t)
	w := readWalkthrough(t)
	t.Run("init prints the same", func(t *testing.T) { h.steps(t, w.start) })
	for _, block := range []*string{&w.start, &w.serve, &w.host, &w.change} {
		*block = h.replace(*block)
	}
	h.shell(t, h.home, w.start)
	h.serve(t, w.serve)
	t.Run("host", func(t *testing.T) { h.host(t, w.host, w.change) })
	t.Run("stock TUF client", h.stockClient)
}

// hand is the place where the commands are run.
type hand struct {
	dir  string // temporary
	home string
	url  string
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
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com",
		"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"BAKEHOUSE_PASSPHRASE_ROOT=r", "BAKEHOUSE_PASSPHRASE_ONLINE=o", "BAKEHOUSE_PASSPHRASE_RELEASE=p",
		"BAKEHOUSE_ACCESS_ADD_PASSWORD_FILE="+password)
	return h
}

func (h *hand) replace(block string) string {
	return strings.NewReplacer("https://bakehouse.example:8443", h.url, "DNS:bakehouse.example", "IP:127.0.0.1",
		"--listen :8443", "--listen "+strings.TrimPrefix(h.url, "https://")).Replace(block)
}

// steps compares what `bakehouse init` prints with what the README has after it.
func (h *hand) steps(t *testing.T, start string) {
	dir := filepath.Join(h.dir, "steps")
	check(t, os.Mkdir(dir, 0o755))
	build, rest, ok := strings.Cut(start, "\nbakehouse init ")
	flags, readme, ok2 := strings.Cut(rest, "\n")
	if !ok || !ok2 {
		t.Fatalf("no bakehouse init in\n%s", start)
	}
	h.shell(t, dir, build)
	cmd := exec.Command("bash", "-euc", "bakehouse init "+flags)
	cmd.Dir, cmd.Env = dir, h.env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	_, printed, _ := strings.Cut(string(out), "Next:\n")
	checkout, err := filepath.EvalSymlinks(filepath.Join(h.home, "src", "bakehouse"))
	check(t, err)
	const named = "~/src/bakehouse"
	printed = strings.NewReplacer(checkout, named, filepath.Join(h.home, "src", "bakehouse"), named).Replace(printed)
	if got, want := commandsOf(printed), commandsOf(readme); !slices.Equal(got, want) {
		t.Errorf("bakehouse init prints\n%s\nand the README has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// commandsOf are the lines of a shell block without comments and needless spaces.
func commandsOf(block string) (commands []string) {
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "  #")
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			commands = append(commands, line)
		}
	}
	return commands
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
	cmd.Dir, cmd.Env = h.home, h.env
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
		t.Fatalf("the server says %q, not %q\n%s", lines.Text(), want, &stderr)
	}
}

// host runs commands as root on a throw-away copy of this machine; then the operator's change, and the update to it on
// the same host. What the host changed is kept in dir/changed. The copy is in memory, for overlays do not stack on one
// another (containers), and dir is mounted into it, for it may not be on the root's file system (/tmp in memory).
func (h *hand) host(t *testing.T, commands, change string) {
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
trap 'cp -a over/upper/. changed' EXIT
on() { chroot root bash -euxo pipefail -c "cd '$PWD/home'
$1" 2>&1 </dev/null; }
on "$1"
echo "-- installed"
read -r
on "$2"`
	second := updateNow + "\nbakehouse-agent status\ncat /etc/vitals.conf"
	cmd := exec.Command("unshare", "--mount", "bash", "-euc", enter, "host", commands, second)
	cmd.Dir = h.dir
	cmd.Env = append(h.env, "BAKEHOUSE_PASSWORD=let me in")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	check(t, err)
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	lines := bufio.NewScanner(stdout)
	until := func(last string) (text string, found bool) {
		for lines.Scan() {
			if lines.Text() == last {
				return text, true
			}
			text += lines.Text() + "\n"
		}
		return text, false
	}
	end := sync.OnceValue(func() error { // without the line that it waits for, it fails
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		return cmd.Wait()
	})
	t.Cleanup(func() { _ = end() })
	first, ok := until("-- installed")
	if !ok {
		if err := end(); strings.Contains(stderr.String(), "mount: ") {
			needs.Missing(t, "no overlay of this machine's root: %v: %s", err, stderr.String())
		}
		t.Fatalf("the host did not come to its end:\n%s%s", first, stderr.String())
	}
	says(t, "the host", first, "registered: web01 at "+h.url, "signatures: accepted release",
		"updated: web01 runs release 1, package ", `state\s+current`,
		`installed\s+bakehouse-agent .* \(deb\), release 1`,
		`server\s+`+regexp.QuoteMeta(h.url))

	out := h.shell(t, filepath.Join(h.home, "fleet"), change)
	says(t, "the operator", out, `plan for quickstart: the files in \., compared with release 1`,
		"another package for 2 hosts: web01, web02", "1 host added: app01", "changed: file /etc/vitals.conf",
		`disk +80 +hosts/rules.cue:\d+:\d+`, "published release 2")
	if strings.Contains(out, "@@") {
		t.Errorf("a summary shows differences:\n%s", out)
	}

	_, err = io.WriteString(stdin, "go on\n")
	check(t, err)
	second, _ = until("-- the end")
	if err := end(); err != nil {
		t.Fatalf("%v:\n%s%s", err, second, stderr.String())
	}
	says(t, "the host", second, "updated: web01 runs release 2, package ", `state\s+current`, "(?m)^DISK=80$")
	if secret := h.secret(t); strings.Contains(first+second, secret) {
		t.Error("the host prints its secret")
	}
}

// says checks that a text has a match for each expression.
func says(t *testing.T, who, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !regexp.MustCompile(w).MatchString(text) {
			t.Errorf("%s does not say %q:\n%s", who, w, text)
		}
	}
}

func (h *hand) secret(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(h.dir, "changed", schema.StateDir("linux"), "state.json"))
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
	if _, err := os.Stat(filepath.Join(h.dir, "changed", schema.StateDir("linux"))); err != nil {
		needs.Missing(t, "no host was registered")
	}
	pool := x509.NewCertPool()
	ca, err := os.ReadFile(filepath.Join(h.home, "server.pem"))
	check(t, err)
	pool.AppendCertsFromPEM(ca)
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
	packageOf := func(host string) []byte {
		h.shell(t, fleet, "bakehouse package get "+host+" --store ../store -o now.deb")
		b, err := os.ReadFile(filepath.Join(fleet, "now.deb"))
		check(t, err)
		return b
	}
	want := packageOf("web01")
	if !bytes.Equal(got, want) {
		t.Errorf("the package has %d bytes, `bakehouse package get` writes %d others", len(got), len(want))
	}

	// db01's package is another one; web02's is the very same, but not web01's to ask for.
	other := packageOf("db01")
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
