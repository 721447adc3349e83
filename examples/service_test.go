package examples_test

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/install/installtest"
	"bakehouse/examples/internal/realhost"
	"bakehouse/schema"
)

// The service updates a host by itself, and the package restarts that very service while dpkg is at work: the update runs
// as a unit of its own, so it comes to its end.
func TestTheServiceSurvivesUpdatingItself(t *testing.T) {
	h := realhost.Boot(t, "db01")
	serviceUpdatesItself(t, h, "deb", "dpkg", "--install")
	if status := h.Run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "bakehouse-agent"); status != "installed" {
		t.Errorf("dpkg calls the package %q", status)
	}
}

// The same by rpm, on a host whose rpm is told by a package that there is a shell.
func TestTheServiceSurvivesUpdatingItselfByRpm(t *testing.T) {
	h := realhost.Boot(t, "db01")
	h.Copy("/root/base.rpm", 0o644, installtest.RpmBuild(t, installtest.Shell))
	h.Run("rpm", "--install", "/root/base.rpm")
	// A hardened host takes only packages with a signature; whoever installs the first one says that this is enough.
	h.Write("/etc/rpm/macros", 0o644, []byte("%_pkgverify_level all\n"))
	if _, err := h.Try("rpm", "--install", "--test", "/root/base.rpm"); err == nil {
		t.Error("the host takes a package without a signature")
	}
	serviceUpdatesItself(t, h, "rpm", "rpm", "--define", "_pkgverify_level digest", "--install")
	if out := h.Run("rpm", "--query", "bakehouse-agent"); len(strings.Fields(out)) != 1 {
		t.Errorf("rpm has more than one: %s", out)
	}
	if out := h.Run("rpm", "--verify", "bakehouse-agent"); out != "" {
		t.Errorf("rpm finds the installed package altered:\n%s", out)
	}
	// Back to the package before, by the updater's own command; to rpm it may be the older or the newer one.
	second := h.Run("rpm", "--query", "bakehouse-agent")
	h.Run("bakehouse-agent", "rollback")
	if first := h.Run("rpm", "--query", "bakehouse-agent"); first == second || len(strings.Fields(first)) != 1 || statusOf(t, h).Installed.Release != 1 {
		t.Errorf("after a rollback from %s rpm has %s", second, first)
	}
	h.Run("rpm", "--erase", "bakehouse-agent")
	if out, err := h.Try("systemctl", "is-active", "bakehouse-agent", "node_exporter"); err == nil {
		t.Errorf("services of an erased package are %s", out)
	}
	if out, err := h.Try("ls", "-d", "/usr/bin/bakehouse-agent", "/etc/bakehouse", "/usr/lib/bakehouse"); !strings.Contains(out, "No such file") || err == nil || strings.Count(out, "\n") > 3 {
		t.Errorf("left behind: %s", out)
	}
}

// serviceUpdatesItself installs a host's package of that format by a command, and lets the service do an update.
func serviceUpdatesItself(t *testing.T, h *realhost.Host, format string, install ...string) {
	t.Helper()
	listen := freePort(t, h.Gateway)
	o := newOperator(t, "node-exporter", listen)
	buildNodeExporter(t, filepath.Join(o.repo, "plugins/node_exporter/node_exporter-"+runtime.GOARCH))
	o.replace("hosts/hosts.cue", "linux/amd64", "linux/"+runtime.GOARCH)
	o.replace("hosts/hosts.cue", `format: "deb"`, `format: "`+format+`"`)
	o.replace("hosts/rules.cue", `interval: "1h"`, `interval: "2s"`)
	o.createKeys()
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", o.source)
	o.commit("The fleet")
	o.reconcile()
	o.serve(listen)

	file := filepath.Join(t.TempDir(), "db01."+format)
	o.run("package", "get", "db01", "--store", o.store, "-o", file)
	h.Copy("/root/db01."+format, 0o644, file)
	h.Run(append(install, "/root/db01."+format)...)
	h.Write("/root/password", 0o600, []byte(password+"\n"))
	h.Run("bakehouse-agent", "register", "--host", "db01", "--user", "ops", "--password-file", "/root/password")
	h.Run("systemctl", "restart", "bakehouse-agent") // or it looks for a registration once a minute
	untilRelease(t, h, 1)
	pid := h.Run("systemctl", "show", "--property=MainPID", "--value", "bakehouse-agent")

	// What an administrator stops and disables stays so, and that is reported.
	h.Run("systemctl", "disable", "--now", "node_exporter")
	o.replace("hosts/rules.cue", `interval: "2s"`, `interval: "3s"`)
	o.commit("Another interval")
	published := o.served()
	o.reconcile()
	o.untilServed(published + 1)
	untilRelease(t, h, 2)

	var is []string
	for _, verb := range []string{"is-active", "is-enabled"} {
		out, _ := h.Try("systemctl", verb, "node_exporter")
		is = append(is, strings.TrimSpace(out))
	}
	want := []string{"node_exporter.service disabled", "node_exporter.service stopped"}
	if s := statusOf(t, h); !slices.Equal(is, []string{"inactive", "disabled"}) || !slices.Equal(s.Stopped, want) {
		t.Errorf("a service that was stopped and disabled is %q after an update, status says %q", is, s.Stopped)
	}

	// The restart is asked for without waiting; it has to come, or this shows nothing.
	restarted := time.Now()
	until(t, h, func() bool {
		return h.Run("systemctl", "show", "--property=MainPID", "--value", "bakehouse-agent") != pid &&
			strings.TrimSpace(h.Run("systemctl", "show", "--property=ActiveState", "--value", "bakehouse-agent")) == "active"
	})
	if d := time.Since(restarted); d > 20*time.Second {
		t.Errorf("the service took %s to stop and start", d)
	}
	if journal := h.Run("journalctl", "--no-pager", "--unit=bakehouse-agent-update"); !strings.Contains(journal, "updated: db01 runs release 2") {
		t.Errorf("the journal of the update's own unit:\n%s", journal)
	}
	t.Logf("the service's peak of resident memory:%s",
		h.Run("sh", "-c", "sed -n 's/^VmHWM://p' /proc/$(systemctl show --property=MainPID --value bakehouse-agent)/status"))
}

// untilRelease waits until the host has installed a release and says that it is current.
func untilRelease(t *testing.T, h *realhost.Host, release int64) {
	t.Helper()
	until(t, h, func() bool {
		s := statusOf(t, h)
		return s.Last.State == schema.StateCurrent && s.Installed.Release == release
	})
}

// until waits for a condition of the host, and shows what the updater said if it does not come.
func until(t *testing.T, h *realhost.Host, done func() bool) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.NewTimer(2 * time.Minute)
	defer end.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-end.C:
			t.Fatalf("it did not come to that; the updater says\n%s",
				h.Run("journalctl", "--no-pager", "--unit=bakehouse-agent", "--unit=bakehouse-agent-update"))
		}
	}
}
