package examples_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bakehouse/agent/wire"
	"bakehouse/schema"
	"bakehouse/schema/needs"
	"bakehouse/serve/inventory"
)

// siteFleet has hosts of a remote site, and a centre that serves it.
type siteFleet struct {
	*operator
	dir, at string // of the site's files; its address
	secret  string
	stop    func() // the centre
	listen  netip.AddrPort
}

func newSiteFleet(t *testing.T, hosts ...string) *siteFleet {
	listen := freePort(t, netip.MustParseAddr("127.0.0.1"))
	s := &siteFleet{operator: newOperator(t, "minimal", listen), dir: t.TempDir(), listen: listen,
		at: freePort(t, netip.MustParseAddr("127.0.0.1")).String()}
	s.secret = filepath.Join(filepath.Dir(s.repo), "site-muc.secret")
	if err := os.WriteFile(s.secret, []byte("crust-and-crumb\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.replace("fleet.cue", "url: \"https://bakehouse.example:8443\"\n", "")
	s.replace("fleet.cue", "enabled: false", "enabled: true")
	if out, err := s.shell(s.repo, 0).CombinedOutput(); err != nil {
		t.Fatalf("the guide's first commands: %v\n%s", err, out)
	}
	s.write("sites/more.cue", fmt.Sprintf("package sites\n\nsites: muc: {\n\tpasswords: true\n"+
		"\tcertificates: [\"\"\"\n\t\t%s\n\t\t\"\"\"]\n}\n",
		strings.ReplaceAll(strings.TrimSpace(s.authority), "\n", "\n\t\t")))
	text := "package hosts\n\ndefaults: {platform: \"linux/amd64\", format: \"tgz\", site: \"muc\"}\n"
	for _, h := range hosts {
		text += "hosts: " + h + ": {}\n"
	}
	s.write("hosts/hosts.cue", text)
	s.write("hosts/rules.cue", "package hosts\n\nrules: files: [{value: files: \"/opt/word\": content: \"one\\n\"}]\n")
	s.createKeys()
	s.commit("The fleet")
	s.reconcile()
	s.stop = s.serve(listen)
	return s
}

// serveSite starts the site; kill ends it as a power cut would, as far as a process can.
func (s *siteFleet) serveSite() (kill func()) {
	s.t.Helper()
	authority := filepath.Join(s.dir, "ca.pem")
	if err := os.WriteFile(authority, []byte(s.authority), 0o600); err != nil {
		s.t.Fatal(err)
	}
	cmd := s.shell(s.dir, 1, "--upstream-ca", authority)
	var log bytes.Buffer // read after Wait only
	cmd.Stderr = &log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	wait, err := startTied(cmd)
	if err != nil {
		s.t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = wait()
		if s.t.Failed() {
			s.t.Logf("the site's log:\n%s", &log)
		}
	})
	s.t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || !strings.Contains(line, s.at) {
		kill()
		s.t.Fatalf("the site says %q (%v)\n%s", line, err, &log)
	}
	return kill
}

// shell is what runs a block of the guide, with the addresses and files of this test.
func (s *siteFleet) shell(dir string, block int, flags ...string) *exec.Cmd {
	s.t.Helper()
	guide, err := os.ReadFile("sites/README.md")
	if err != nil {
		s.t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(guide), -1)
	if len(blocks) < 2 {
		s.t.Fatalf("the guide has %d blocks of commands", len(blocks))
	}
	text := strings.NewReplacer("https://muc.example:8443", "https://"+s.at,
		"https://bakehouse.example:8443", s.url, "--listen :8443", "--listen "+s.at, "1.root.json",
		filepath.Join(s.repo, "trust/1.root.json"), "--upstream-secret-file site-muc.secret",
		"--upstream-secret-file "+s.secret, "muc.pem", s.cert, "muc.key", s.key,
		"bakehouse serve", "exec bakehouse serve").Replace(strings.TrimSpace(blocks[block][1]))
	cmd := exec.Command("sh", "-e", "-c", strings.Join(append([]string{text}, flags...), " "))
	cmd.Dir, cmd.Env = dir, append(s.env(), "PATH="+programs(s.t)+":"+os.Getenv("PATH"))
	return cmd
}

// agent runs the host program on a host that is a directory.
func (s *siteFleet) agent(host string, args ...string) (string, error) {
	root := filepath.Join(s.dir, "hosts", host)
	if err := os.MkdirAll(root, 0o755); err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(s.t.Context(), filepath.Join(programs(s.t), "bakehouse-agent"),
		append([]string{"--root", root}, args...)...)
	cmd.Env = append(s.env(), "BAKEHOUSE_PASSWORD="+password)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// One command makes a site. A host registers and updates through it, the centre goes away, and the host goes on.
func TestASiteIsOneCommandAndOutlivesItsCentre(t *testing.T) {
	t.Parallel()
	s := newSiteFleet(t, "web01")
	s.serveSite()
	run := func(args ...string) {
		t.Helper()
		out, err := s.agent("web01", args...)
		t.Logf("$ bakehouse-agent %s\n%s", strings.Join(args, " "), out)
		if err != nil {
			t.Fatal(err)
		}
	}
	authority, key := filepath.Join(s.dir, "ca.pem"), filepath.Join(s.dir, "release.pem")
	if err := os.WriteFile(key, []byte(s.run("key", "show", "release")), 0o600); err != nil {
		t.Fatal(err)
	}
	run("register", "--server", "https://"+s.at, "--host", "web01", "--user", "ops", "--ca", authority, "--anchor",
		filepath.Join(s.repo, "trust/1.root.json"), "--key", key)
	run("update", "-v")
	word, err := os.ReadFile(filepath.Join(s.dir, "hosts/web01/opt/word"))
	if err != nil || string(word) != "one\n" {
		t.Fatalf("%q, %v", word, err)
	}
	s.stop()
	run("update", "-v")
	if out, err := s.agent("web01", "status"); err != nil || strings.Contains(out, "unreachable") {
		t.Errorf("%v\n%s", err, out)
	}
}

// What a site acknowledged reaches the centre, however often the site is killed.
func TestAReportThatASiteAcknowledgedIsNotLostWhenItIsKilled(t *testing.T) {
	t.Parallel()
	kills := 20
	if needs.Everything() {
		kills = 100
	}
	hosts := []string{"web01", "web02", "web03", "web04"}
	s := newSiteFleet(t, hosts...)
	kill := s.serveSite()
	clients := map[string]*wire.Client{}
	for _, host := range hosts {
		c := s.askSite(t, "ops", password)
		a, err := c.Register(t.Context(), schema.RegisterRequest{Host: host, Agent: "1",
			Platform: schema.Platform{OS: "linux", Arch: "amd64"}})
		if err != nil {
			t.Fatal(err)
		}
		clients[host] = s.askSite(t, host, a.Secret)
	}
	acknowledged := map[string]int{}
	for i := range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var load sync.WaitGroup
		enough := make(chan struct{})
		count := 0
		for host, c := range clients {
			load.Go(func() {
				for n := acknowledged[host] + 1; ctx.Err() == nil; n++ {
					report := schema.Report{Agent: "1", State: schema.StateFailed, Error: fmt.Sprintf("%06d", n)}
					_, err := c.Poll(ctx, schema.PollRequest{Report: report})
					if err != nil {
						return
					}
					mu.Lock()
					acknowledged[host] = n
					if count++; count == 10+i {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		kill()
		cancel()
		load.Wait()
		kill = s.serveSite()
	}
	db, err := inventory.Open(t.Context(), filepath.Join(filepath.Dir(s.store), "inventory.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, host := range hosts {
		deadline := time.Now().Add(time.Minute)
		for {
			h, err := db.Host(t.Context(), host)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("%06d", acknowledged[host]); h.Seen.Report.Error >= want {
				break
			} else if time.Now().After(deadline) {
				t.Fatalf("%s: acknowledged was %s, the centre knows %s", host, want, h.Seen.Report.Error)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// askSite asks the site.
func (s *siteFleet) askSite(t *testing.T, user, password string) *wire.Client {
	t.Helper()
	c, err := wire.New(wire.Config{Server: "https://" + s.at, Certificates: []string{s.authority}, User: user,
		Password: password, Program: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}
