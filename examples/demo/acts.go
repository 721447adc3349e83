package demo

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"text/tabwriter"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

var hostNames = []string{"web01", "web02", "db01"}

// reconcileOutcome is what the demo reads of `reconcile --json`.
type reconcileOutcome struct {
	Release   int64 `json:"release"`
	Timestamp int64 `json:"timestamp"`
	Hosts     int   `json:"hosts"`
	Packages  []struct {
		SHA256         schema.Digest `json:"sha256"`
		Format         schema.Format `json:"format"`
		Size           int64         `json:"size"`
		Stored         int64         `json:"stored"`
		NewSegments    int           `json:"newSegments"`
		ReusedSegments int           `json:"reusedSegments"`
		Hosts          []string      `json:"hosts"`
	} `json:"packages"`
	SignedBy []string `json:"signedBy"`
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

func (s *stage) repository(ctx context.Context) error {
	for _, key := range []string{"ROOT", "ONLINE", "RELEASE", "ROGUE"} {
		s.env["BAKEHOUSE_PASSPHRASE_"+key] = rand.Text()
	}
	s.env["BAKEHOUSE_KEY_DIR"] = s.path("private")
	s.env["BAKEHOUSE_STORE"] = s.path("store")
	s.env["BAKEHOUSE_SERVE_WATCH"] = "200ms" // nobody shall wait for the server to look at the store
	// What the commands keep for their next run goes with the demo, as do the go command's counters; its settings and
	// its cache stay where they are.
	if config, err := os.UserConfigDir(); err == nil && os.Getenv("GOENV") == "" {
		s.env["GOENV"] = filepath.Join(config, "go", "env")
	}
	s.env["XDG_CONFIG_HOME"] = s.path("config")
	// Or it would count in the background, in a folder that an interrupt removes.
	counters := s.path("config/go/telemetry")
	err := os.MkdirAll(counters, 0o755)
	if err == nil {
		err = os.WriteFile(filepath.Join(counters, "mode"), []byte("off"), 0o600)
	}
	if err != nil {
		return err
	}
	ask := exec.CommandContext(ctx, "go", "env", "GOCACHE")
	ask.Env = append(os.Environ(), "XDG_CONFIG_HOME="+s.env["XDG_CONFIG_HOME"])
	if cache, err := ask.Output(); err == nil {
		s.env["GOCACHE"] = strings.TrimSpace(string(cache))
	}
	s.env["XDG_CACHE_HOME"] = s.path("cache")
	if err := os.WriteFile(s.path("password"), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return err
	}
	// The demo is the same on every machine, so the user's own git settings stay out of it.
	for k, v := range map[string]string{"GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull,
		"GIT_AUTHOR_NAME": "demo", "GIT_AUTHOR_EMAIL": "demo@example.com",
		"GIT_COMMITTER_NAME": "demo", "GIT_COMMITTER_EMAIL": "demo@example.com"} {
		s.env[k] = v
	}
	s.note("Passphrases, and where the keys and the store are, reach the commands through the environment (BAKEHOUSE_*).")
	port, err := freePort()
	if err != nil {
		return err
	}
	s.url = fmt.Sprintf("https://127.0.0.1:%d", port)
	if _, err := s.must(ctx, ".", "bakehouse", "init", "fleet", "--example", "quickstart", "--url", s.url); err != nil {
		return err
	}
	if err := s.thisPlatform(); err != nil {
		return err
	}
	for _, argv := range [][]string{
		{"bakehouse", "key", "create", "root", "--use", "root"},
		{"bakehouse", "key", "create", "online", "--use", "targets,snapshot,timestamp"},
		{"bakehouse", "key", "create", "release", "--use", "package"},
		{"bakehouse", "root", "init"},
	} {
		if _, err := s.must(ctx, "fleet", argv...); err != nil {
			return err
		}
	}
	r, err := s.must(ctx, "fleet", "bakehouse", "upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", s.source)
	if err != nil {
		return err
	}
	s.echo(r.stdout)
	r, err = s.must(ctx, "fleet", "bakehouse", "access", "add", "installer", "--permission", "register",
		"--password-file", "../password")
	if err != nil {
		return err
	}
	if err := appendTo(s.path("fleet/access.cue"), r.stdout); err != nil {
		return err
	}
	s.note("  that printed a line for access.cue, which is appended: installer may register hosts")
	return s.commit(ctx, "The fleet")
}

// thisPlatform sets the hosts' platform to the machine's, since the host program runs here.
func (s *stage) thisPlatform() error {
	if runtime.GOOS != "linux" {
		return fault.Hint(fmt.Errorf("the host program does not run on %s yet", runtime.GOOS), "run the demo on Linux")
	}
	return s.edit("hosts/hosts.cue", "linux/amd64", "linux/"+runtime.GOARCH)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *stage) commit(ctx context.Context, message string) error {
	if _, err := s.must(ctx, "fleet", "git", "add", "-A"); err != nil {
		return err
	}
	_, err := s.must(ctx, "fleet", "git", "commit", "-q", "-m", message)
	return err
}

// reconcile runs a pass that must publish, and shows what it baked.
func (s *stage) reconcile(ctx context.Context, flags ...string) (*reconcileOutcome, error) {
	words := append([]string{"bakehouse", "reconcile", "--json", "--source", s.source}, flags...)
	r, err := s.must(ctx, "fleet", words...)
	if err != nil {
		return nil, err
	}
	var out reconcileOutcome
	if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
		return nil, fmt.Errorf("reconcile --json: %w", err)
	}
	for _, p := range out.Packages {
		s.note("  baked %s for %s: %d bytes, %d new to the store, %d parts reused; signed by %s", p.SHA256.Short(),
			strings.Join(p.Hosts, " and "), p.Size, p.Stored, p.ReusedSegments, strings.Join(out.SignedBy, ", "))
	}
	s.note("  release %d is published for %d hosts", out.Release, out.Hosts)
	if s.server == nil {
		return &out, nil
	}
	return &out, s.noticed(ctx, out.Timestamp)
}

func (s *stage) firstRelease(ctx context.Context) error {
	r, err := s.must(ctx, "fleet", "bakehouse", "check")
	if err != nil {
		return err
	}
	s.echo(r.stdout)
	out, err := s.reconcile(ctx, "--init")
	if err != nil {
		return err
	}
	if len(out.Packages) != 2 {
		return fmt.Errorf("%d packages were baked for two alike hosts and a different one, not 2", len(out.Packages))
	}
	return nil
}

func (s *stage) startServer(ctx context.Context, storeDir string) error {
	url, err := s.serve(ctx, "bakehouse", "serve", "--store", storeDir, "--listen", strings.TrimPrefix(s.url, "https://"),
		"--tls-self-signed", "tls", "--database", "server.db")
	if err != nil {
		return err
	}
	if url != s.url {
		return fmt.Errorf("the server listens on %s, not on %s", url, s.url)
	}
	s.note("  listening on %s", url)
	return nil
}

func (s *stage) hosts(ctx context.Context) error {
	if err := s.startServer(ctx, "store"); err != nil {
		return err
	}
	if err := s.hostProgram(ctx); err != nil {
		return err
	}
	r, err := s.must(ctx, "fleet", "bakehouse", "key", "show", "release")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("release.pem"), []byte(r.stdout), 0o644); err != nil {
		return err
	}
	s.note("  that printed the public half of the key, which goes to release.pem")
	for _, host := range hostNames {
		if err := os.MkdirAll(s.path("hosts/"+host), 0o755); err != nil {
			return err
		}
		if _, err := s.must(ctx, ".", "bakehouse-agent", "--root", "hosts/"+host, "register", "--server", s.url, "--ca",
			"tls/ca.pem", "--host", host,
			"--user", "installer", "--password-file", "password", "--anchor", "fleet/trust/1.root.json", "--key",
			"release.pem"); err != nil {
			return err
		}
	}
	for i, host := range hostNames {
		if err := s.update(ctx, host, i == 0); err != nil {
			return err
		}
	}
	s.first, err = s.standings(ctx)
	return err
}

// hostProgram takes the host program out of a package, as somebody would who installs the first host by hand.
func (s *stage) hostProgram(ctx context.Context) error {
	if _, err := s.must(ctx, "fleet", "bakehouse", "package", "get", hostNames[0], "-o", "../web01.tgz"); err != nil {
		return err
	}
	if err := extract(s.path("web01.tgz"), "./usr/bin/bakehouse-agent", s.path("bin/bakehouse-agent")); err != nil {
		return err
	}
	s.note("  usr/bin/bakehouse-agent is taken out of it: the updater alone can install the rest. (Or unpack it all, " +
		"or dpkg -i.)")
	return nil
}

// update lets a host update itself; told, it shows every step that the host takes.
func (s *stage) update(ctx context.Context, host string, told bool) error {
	argv := []string{"bakehouse-agent", "--root", "hosts/" + host, "update"}
	if told {
		argv = append(argv, "-v")
	}
	r, err := s.must(ctx, ".", argv...)
	if err != nil {
		return err
	}
	if told {
		s.echo(r.stderr)
	}
	s.echo(r.stdout)
	return nil
}

func (s *stage) change(ctx context.Context) error {
	if err := s.rule(ctx, 80); err != nil {
		return err
	}
	out, err := s.reconcile(ctx)
	if err != nil {
		return err
	}
	if len(out.Packages) != 1 || len(out.Packages[0].Hosts) != 2 || out.Packages[0].NewSegments != 0 {
		return fmt.Errorf("a rule for two hosts baked %+v, not one package from stored segments", out.Packages)
	}
	for i, host := range hostNames {
		if err := s.update(ctx, host, i == 0); err != nil {
			return err
		}
	}
	for host, want := range map[string]string{"web01": "DISK=80", "web02": "DISK=80", "db01": "DISK=75"} {
		b, err := os.ReadFile(s.path("hosts/" + host + "/etc/vitals.conf"))
		if err != nil {
			return err
		}
		if !strings.Contains(string(b), want+"\n") {
			return fmt.Errorf("%s has the settings %q, without %s", host, b, want)
		}
	}
	s.note("web01 and web02 now have DISK=80 in /etc/vitals.conf; db01 was left alone.")
	return nil
}

const rulesFile = "hosts/web/rules.cue"

// rule sets one parameter for the hosts in the folder web, and commits.
func (s *stage) rule(ctx context.Context, disk int) error {
	text := fmt.Sprintf("rules: vitals: [{value: disk: %d}]", disk)
	s.note("%s now says: %s", rulesFile, text)
	if err := os.WriteFile(s.path("fleet/"+rulesFile), []byte("package web\n\n"+text+"\n"), 0o644); err != nil {
		return err
	}
	return s.commit(ctx, fmt.Sprintf("Warn of full disks on web servers at %d %%", disk))
}

func (s *stage) edit(file, old, new string) error {
	file = s.path("fleet/" + file)
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !strings.Contains(string(b), old) {
		return fmt.Errorf("%s does not contain %q", file, old)
	}
	return os.WriteFile(file, []byte(strings.Replace(string(b), old, new, 1)), 0o644)
}

// altered: somebody with write access to the store changes a byte of the largest segment.
func (s *stage) altered(ctx context.Context) error {
	if err := s.rule(ctx, 70); err != nil {
		return err
	}
	if _, err := s.reconcile(ctx); err != nil {
		return err
	}
	segment, err := largest(s.path("store/segments"))
	if err != nil {
		return err
	}
	mend, err := flip(segment)
	if err != nil {
		return err
	}
	s.note("One bit of store/segments/%.16s… is flipped.", filepath.Base(segment))
	s.note("web01 has lost what it had cached, so it has to fetch that part again:")
	if err := os.RemoveAll(s.path("hosts/web01/var/lib/bakehouse/segments")); err != nil {
		return err
	}
	before, err := s.installed("web01")
	if err != nil {
		return err
	}
	if err := s.refused(ctx, "altered", ".", "bakehouse-agent", "--root", "hosts/web01", "update"); err != nil {
		return err
	}
	if err := s.unchanged("web01", before); err != nil {
		return err
	}
	s.note("And reconcile will not build on it:")
	if err := s.rule(ctx, 60); err != nil {
		return err
	}
	if err := s.refused(ctx, "altered", "fleet", "bakehouse", "reconcile", "--source", s.source); err != nil {
		return err
	}
	if err := mend(); err != nil {
		return err
	}
	s.note("The bit is put back: the next pass and the next update go through.")
	if _, err := s.reconcile(ctx); err != nil {
		return err
	}
	return s.update(ctx, "web01", false)
}

// replayed: a server whose store was set back to the first release.
func (s *stage) replayed(ctx context.Context) error {
	if err := s.stopServer(); err != nil {
		return err
	}
	if err := os.CopyFS(s.path("old-store"), os.DirFS(s.path("store"))); err != nil {
		return err
	}
	newer, err := filepath.Glob(s.path("old-store/timestamps/*.json"))
	if err != nil {
		return err
	}
	if len(newer) < 2 {
		return errors.New("the store has no older release to replay")
	}
	for _, f := range newer[1:] {
		if err := os.Remove(f); err != nil {
			return err
		}
	}
	s.note("The server is stopped. Another one serves a copy of the store in which release 1 is the newest.")
	if err := s.startServer(ctx, "old-store"); err != nil {
		return err
	}
	before, err := s.installed("web01")
	if err != nil {
		return err
	}
	said, err := s.must(ctx, ".", "bakehouse-agent", "--root", "hosts/web01", "update")
	if err != nil {
		return err
	}
	if want := "the site is behind by"; !strings.Contains(said.stdout+said.stderr, want) {
		return fmt.Errorf("web01 does not say %q of a server that replays an older release:\n%s%s", want, said.stdout,
			said.stderr)
	}
	s.echo(said.stdout)
	s.note("What is older than what web01 has seen counts for nothing. It goes by what it holds, and reports the site.")
	if err := s.unchanged("web01", before); err != nil {
		return err
	}
	if err := s.stopServer(); err != nil {
		return err
	}
	s.note("The true server is back.")
	return s.startServer(ctx, "store")
}

// unknownKey: a change that slips in another signature key; the online keys publish it, the hosts do not follow.
func (s *stage) unknownKey(ctx context.Context) error {
	if _, err := s.must(ctx, "fleet", "bakehouse", "key", "create", "rogue", "--use", "package"); err != nil {
		return err
	}
	if _, err := s.must(ctx, "fleet", "git", "rm", "-q", "keys/release.cue"); err != nil {
		return err
	}
	if err := s.commit(ctx, "Harmless clean-up"); err != nil {
		return err
	}
	if _, err := s.reconcile(ctx); err != nil {
		return err
	}
	before, err := s.installed("web01")
	if err != nil {
		return err
	}
	s.note("reconcile publishes what the repository says; the hosts still accept the key release only:")
	if err := s.refused(ctx, "No valid signature found", ".", "bakehouse-agent", "--root", "hosts/web01",
		"update"); err != nil {
		return err
	}
	if err := s.unchanged("web01", before); err != nil {
		return err
	}
	s.note("The commit is reverted:")
	if _, err := s.must(ctx, "fleet", "git", "revert", "--no-edit", "HEAD"); err != nil {
		return err
	}
	if _, err := s.reconcile(ctx); err != nil {
		return err
	}
	for _, host := range hostNames {
		if err := s.update(ctx, host, false); err != nil {
			return err
		}
	}
	return nil
}

// installed is the link that says which version runs on a host.
func (s *stage) installed(host string) (string, error) {
	return os.Readlink(s.path("hosts/" + host + schema.VersionDir + "/current"))
}

func (s *stage) unchanged(host, before string) error {
	after, err := s.installed(host)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("%s changed from %s to %s for that", host, before, after)
	}
	s.note("%s still runs what it ran.", host)
	return nil
}

// standing is what the demo reads of `bakehouse-agent status --json`.
type standing struct {
	Last struct {
		State  string        `json:"state"`
		Target schema.Digest `json:"target"`
	} `json:"last"`
	Installed struct {
		Package schema.Digest `json:"package"`
		Release int64         `json:"release"`
	} `json:"installed"`
	Fetched int64 `json:"fetched"` // by the last update that installed something
}

// standings asks every host where it stands.
func (s *stage) standings(ctx context.Context) (map[string]standing, error) {
	all := map[string]standing{}
	for _, host := range hostNames {
		r, err := s.must(ctx, ".", "bakehouse-agent", "--root", "hosts/"+host, "status", "--json")
		if err != nil {
			return nil, err
		}
		var st standing
		if err := json.Unmarshal([]byte(r.stdout), &st); err != nil {
			return nil, fmt.Errorf("status of %s: %w", host, err)
		}
		all[host] = st
	}
	return all, nil
}

func (s *stage) table(ctx context.Context) error {
	now, err := s.standings(ctx)
	if err != nil {
		return err
	}
	s.say("")
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "   host\ttarget\tinstalled\trelease\tfetched first\tfetched last\tstate")
	for _, host := range hostNames {
		h := now[host]
		fmt.Fprintf(w, "   %s\t%s\t%s\t%d\t%d B\t%d B\t%s\n", host, h.Last.Target.Short(), h.Installed.Package.Short(),
			h.Installed.Release,
			s.first[host].Fetched, h.Fetched, h.Last.State)
		if h.Last.State != schema.StateCurrent || h.Last.Target != h.Installed.Package || h.Last.Target.IsZero() {
			err = fmt.Errorf("%s is not current", host)
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	package1, package2, package3 := now["web01"].Installed.Package, now["web02"].Installed.Package,
		now["db01"].Installed.Package
	if package1 != package2 || package1 == package3 {
		return errors.New("the two alike hosts should share a package that the third has not")
	}
	return err
}
