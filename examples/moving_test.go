package examples_test

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"bakehouse/agent"
	"bakehouse/agent/contact"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// moving is who follows the guide, with directories and programs of the test's.
type moving struct {
	*operator
	blocks []string
	paths  *strings.Replacer
}

// does runs the commands of a block of the guide in a directory.
func (m *moving) does(block int, dir string) string {
	m.t.Helper()
	cmd := m.command("bash", "-euo", "pipefail", "-c", m.paths.Replace(m.blocks[block]))
	cmd.Dir = dir
	cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(m.program)+":"+os.Getenv("PATH"))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		m.t.Fatalf("%s: %v\n%s%s", m.blocks[block], err, &stdout, &stderr)
	}
	return stdout.String()
}

// small is a fleet of one host, web01, whose file says what it has.
func small(t *testing.T, name string, listen netip.AddrPort) *operator {
	o := newOperator(t, "minimal", listen)
	o.replace("fleet.cue", "url: \"https://bakehouse.example:8443\"\n", "")
	o.replace("fleet.cue", `name: "fleet"`, `name: "`+name+`"`)
	o.replace("fleet.cue", "enabled: false", "enabled: true")
	o.write("hosts/hosts.cue", "package hosts\n\ndefaults: {platform: \"linux/"+runtime.GOARCH+
		"\", format: \"tgz\"}\nhosts: web01: {}\n")
	o.write("hosts/rules.cue", rulesOf(name))
	o.createKeys()
	o.commit("The fleet")
	return o
}

func rulesOf(motd string) string {
	return "package hosts\n\nrules: files: [{value: files: \"/etc/motd\": content: \"" + motd + "\"}]\n"
}

// The guide as it is: to another server, to another fleet, and back from a backup.
func TestHostsMoveAndTheCentreIsRestoredByTheGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("moving/README.md")
	check(t, err)
	loopback := netip.MustParseAddr("127.0.0.1")
	first, second, third := freePort(t, loopback), freePort(t, loopback), freePort(t, loopback)
	o := small(t, "fleet", first)
	m := &moving{operator: o}
	for _, b := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(guide), -1) {
		m.blocks = append(m.blocks, b[1])
	}
	if len(m.blocks) != 7 {
		t.Fatalf("the guide has %d blocks of commands", len(m.blocks))
	}
	old, fresh := filepath.Dir(o.store), t.TempDir()
	m.paths = strings.NewReplacer("/mnt/new/srv/bakehouse", filepath.Join(fresh, "store"), "/mnt/new", fresh,
		"/srv/bakehouse", o.store, "/var/lib/bakehouse-server", old)
	o.reconcile()
	stopOld := o.serve(first)

	root := t.TempDir()
	a, err := agent.New(agent.Options{Root: root, Version: "0.1.0"})
	check(t, err)
	write := func(name, text string) string {
		name = filepath.Join(t.TempDir(), name)
		check(t, os.WriteFile(name, []byte(text), 0o600))
		return name
	}
	_, err = a.Register(t.Context(), agent.RegisterOptions{Server: o.url, Host: "web01", User: "ops",
		Options: contact.Options{CA: write("ca.pem", o.authority),
			Anchor: filepath.Join(o.repo, "trust/1.root.json"),
			Keys:   []string{write("release.pem", o.run("key", "export", "release", "--public"))}},
		Password: func() (string, error) { return password, nil }})
	check(t, err)
	update := func(motd, server string) {
		t.Helper()
		r, err := a.Update(t.Context(), agent.UpdateOptions{})
		if err != nil || r.State != schema.StateCurrent {
			t.Fatalf("%+v, %v (%s)", r, err, fault.HintOf(err))
		}
		if b, err := os.ReadFile(filepath.Join(root, "etc/motd")); err != nil || string(b) != motd {
			t.Fatalf("it has %q, %v", b, err)
		}
		if s, err := a.Status(); err != nil || server != "" && s.Server != server {
			t.Fatalf("its server is %s, %v", s.Server, err)
		}
	}
	update("fleet", o.url)

	// To another server of the fleet.
	m.does(0, old)
	moved := *o
	moved.store, moved.url = filepath.Join(fresh, "store"), "https://"+second.String()
	check(t, os.Rename(filepath.Join(fresh, "inventory.db"), filepath.Join(filepath.Dir(moved.store), "inventory.db")))
	stopNew := moved.serve(second)
	o.replace("server.cue", o.url, moved.url)
	o.write("hosts/rules.cue", rulesOf("moved"))
	o.commit("Another server")
	m.does(1, o.repo)
	o.untilServed(2)
	moved.untilServed(2)
	update("moved", "")
	stopOld()
	update("moved", moved.url)
	if out := m.does(2, fresh); !strings.Contains(out, "web01  up-to-date") {
		t.Errorf("the new server says\n%s", out)
	}

	// The centre is restored: its store is that of a release before.
	backup := filepath.Join(t.TempDir(), "store")
	check(t, os.CopyFS(backup, os.DirFS(moved.store)))
	m.paths = strings.NewReplacer("/mnt/new", fresh, "/srv/bakehouse", moved.store, "/var/lib/bakehouse-server", fresh)
	o.write("hosts/rules.cue", rulesOf("newer"))
	o.commit("Newer")
	moved.reconcile()
	moved.untilServed(3)
	update("newer", moved.url)
	stopNew()
	check(t, os.RemoveAll(moved.store))
	check(t, os.CopyFS(moved.store, os.DirFS(backup)))
	m.does(6, o.repo)
	stopNew = moved.serve(second)
	moved.untilServed(4)
	update("newer", moved.url)
	o.write("hosts/rules.cue", rulesOf("newest"))
	o.commit("Newest")
	served := moved.served()
	moved.reconcile()
	moved.untilServed(served + 1)
	update("newest", moved.url)

	// To another fleet.
	p := small(t, "bakery", third)
	p.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", p.source)
	p.write("hosts/updater.cue", "package hosts\n\nrules: updater: [{value: {}}]\n")
	p.commit("With the updater")
	p.reconcile()
	m.paths = strings.NewReplacer("/mnt/new", filepath.Dir(p.store), "/srv/bakehouse", moved.store,
		"/var/lib/bakehouse-server", fresh)
	check(t, os.RemoveAll(filepath.Join(old, "hosts.jsonl")))
	p.serve(third)
	m.does(3, old)
	theirs := &moving{operator: p, blocks: m.blocks, paths: m.paths}
	sum, key, _ := strings.Cut(theirs.does(4, p.repo), "\n")
	sum, _, _ = strings.Cut(sum, " ")
	rule := regexp.MustCompile("(?s)```cue\n(.*?)```").FindStringSubmatch(string(guide))[1]
	indented := func(text string) string { return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n        ") }
	rule = strings.ReplaceAll(rule, "\n   ", "\n")
	rule = strings.NewReplacer("https://bakery.example:8443", p.url, `root: "…"`, `root: "`+sum+`"`,
		"-----BEGIN CERTIFICATE-----\n        …\n        -----END CERTIFICATE-----", indented(p.authority),
		"-----BEGIN PUBLIC KEY-----\n        …\n        -----END PUBLIC KEY-----", indented(key)).Replace(rule)
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", o.source)
	o.write("hosts/handover.cue", "package hosts\n\n"+strings.TrimPrefix(rule, "   "))
	o.commit("To the bakery")
	served = moved.served()
	m.does(5, o.repo)
	moved.untilServed(served + 1)
	update("newest", moved.url) // it installs what says where to go
	update("bakery", p.url)
	stopNew()
	p.write("hosts/rules.cue", rulesOf("at home"))
	p.commit("At home")
	p.reconcile()
	p.untilServed(2)
	update("at home", p.url)
}
