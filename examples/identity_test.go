package examples_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bakehouse/agent"
	"bakehouse/agent/contact"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// A machine that was renamed in the repo, and one that was copied: the programs as they are, from commit to host.
func TestAHostIsRenamedByACommitAndACopyOfItIsNoticed(t *testing.T) {
	t.Parallel()
	listen := freePort(t, netip.MustParseAddr("127.0.0.1"))
	o := newOperator(t, "minimal", listen)
	o.replace("fleet.cue", "url: \"https://bakehouse.example:8443\"\n", "")
	o.replace("fleet.cue", "enabled: false", "enabled: true")
	hosts := "package hosts\n\ndefaults: {platform: \"linux/" + runtime.GOARCH + "\", format: \"tgz\"}\n"
	o.write("hosts/hosts.cue", hosts+"hosts: web01: {}\n")
	rules := "package hosts\n\nrules: files: [{value: files: \"/etc/motd\": content: \"one\"}]\n"
	o.write("hosts/rules.cue", rules)
	o.createKeys()
	o.commit("The fleet")
	o.reconcile()
	o.serve(listen)

	at := func(root, machine string) *agent.Agent {
		t.Helper()
		id := filepath.Join(root, "etc/machine-id")
		if err := os.MkdirAll(filepath.Dir(id), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(id, []byte(strings.Repeat(machine, 32)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		a, err := agent.New(agent.Options{Root: root, Version: "0.1.0"})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	update := func(a *agent.Agent, host, state, why string) {
		t.Helper()
		r, err := a.Update(t.Context(), agent.UpdateOptions{})
		if err != nil || r.Host != host || r.State != state || !strings.Contains(r.Why, why) {
			t.Fatalf("%+v, %v (%s)", r, err, fault.HintOf(err))
		}
	}
	publish := func(message string) {
		t.Helper()
		published := o.served()
		o.commit(message)
		o.reconcile()
		o.untilServed(published + 1)
	}
	dir := t.TempDir()
	file := func(name string, text []byte) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	root := t.TempDir()
	a := at(root, "1")
	if _, err := a.Register(t.Context(), agent.RegisterOptions{Server: o.url, Host: "web01", User: "ops",
		Options: contact.Options{CA: file("ca.pem", []byte(o.authority)),
			Anchor: filepath.Join(o.repo, "trust/1.root.json"),
			Keys:   []string{file("release.pem", []byte(o.run("key", "export", "release", "--public")))}},
		Password: func() (string, error) { return password, nil }}); err != nil {
		t.Fatal(err, fault.HintOf(err))
	}
	update(a, "web01", schema.StateCurrent, "")

	// Without a word of what it was called, the name is gone.
	o.write("hosts/hosts.cue", hosts+"hosts: web09: {}\n")
	publish("Another name, by mistake without was")
	update(a, "web01", schema.StateHeld, "set `was: \"web01\"` there")
	o.write("hosts/hosts.cue", hosts+"hosts: web09: was: \"web01\"\n")
	publish("It was web01")
	update(a, "web09", schema.StateCurrent, "")
	o.write("hosts/rules.cue", strings.Replace(rules, "one", "two", 1))
	publish("Two")
	update(a, "web09", schema.StateCurrent, "")
	if b, err := os.ReadFile(filepath.Join(root, "etc/motd")); err != nil || string(b) != "two" {
		t.Errorf("under its new name it has %q, %v", b, err)
	}

	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "var"), os.DirFS(filepath.Join(root, "var"))); err != nil {
		t.Fatal(err)
	}
	clone := at(copied, "2")
	update(clone, "web09", schema.StateCurrent, "")
	s, err := clone.Status()
	if err != nil || !strings.Contains(s.Elsewhere, "another machine than the one that was registered as web09") {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := a.Status(); err != nil || s.Elsewhere != "" {
		t.Errorf("the original: %+v, %v", s, err)
	}
}
