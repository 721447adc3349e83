package examples_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bakehouse/examples/internal/realhost"
)

// Where no package manager does it, the updater runs a plugin's scripts, makes its users, gives them their files and starts
// what runs at intervals, on a booted Debian that gets a tgz.
func TestTheUpdaterDoesForATgzWhatDpkgDoesForADeb(t *testing.T) {
	t.Parallel()
	h := realhost.Boot(t, "web01")
	listen := freePort(t, h.Gateway)
	o := newOperator(t, "minimal", listen)
	o.replace("fleet.cue", "url: \"https://bakehouse.example:8443\"\n", "")
	o.replace("fleet.cue", "enabled: false", "enabled: true")
	o.write("hosts/hosts.cue", "package hosts\n\ndefaults: {platform: \"linux/"+runtime.GOARCH+"\", format: \"tgz\"}\nhosts: web01: {}\n")
	o.write("hosts/rules.cue", "package hosts\n\nrules: updater: [{value: {}}]\nrules: steps: [{value: {}}]\n")
	if err := os.MkdirAll(filepath.Join(o.repo, "plugins/steps"), 0o755); err != nil {
		t.Fatal(err)
	}
	o.write("plugins/steps/plugin.cue", stepsPlugin)
	o.createKeys()
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", o.source)
	o.commit("The fleet")
	o.reconcile()
	o.serve(listen)
	steps := func(what string, want ...string) {
		t.Helper()
		if got := strings.Split(strings.TrimSpace(h.Run("cat", "/root/steps")), "\n"); !slices.Equal(got, want) {
			t.Errorf("%s ran\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		h.Run("rm", "/root/steps")
	}
	beat := func(word string) {
		t.Helper()
		until(t, h, func() bool {
			got, err := h.Try("cat", "/var/cache/steps/beat")
			return err == nil && got == word+" by steps with token\n"
		})
	}

	tgz := filepath.Join(t.TempDir(), "web01.tgz")
	o.run("package", "get", "web01", "--store", o.store, "-o", tgz)
	h.Copy("/root/web01.tgz", 0o644, tgz)
	h.Run("tar", "--extract", "--gzip", "--directory", "/", "--keep-directory-symlink", "--file", "/root/web01.tgz")
	if _, err := h.Try("test", "-e", "/root/steps"); err == nil {
		t.Error("tar ran a script")
	}
	h.Write("/root/password", 0o600, []byte(password+"\n"))
	h.Run("bakehouse-agent", "register", "--host", "web01", "--user", "ops", "--password-file", "/root/password")
	h.Run("bakehouse-agent", "update", "-v")

	// Another package is the first that the updater installs.
	release := func(message string) {
		t.Helper()
		o.commit(message)
		published := o.served()
		o.reconcile()
		o.untilServed(published + 1)
		t.Logf("bakehouse-agent update -v:\n%s", h.Run("bakehouse-agent", "update", "-v"))
	}
	o.replace("hosts/rules.cue", "steps: [{value: {}}]", `steps: [{value: beat: "two"}]`)
	release("Another word")
	beat("two")
	t.Logf("so far ran\n%s", h.Run("cat", "/root/steps"))
	h.Run("rm", "/root/steps")
	if got := strings.TrimSpace(h.Run("stat", "--dereference", "--format=%a %U:%G", "/etc/steps/token")); got != "640 steps:readers" {
		t.Errorf("the user's file is %s", got)
	}

	o.replace("hosts/rules.cue", `"two"`, `"three"`)
	release("And another")
	steps("an upgrade", "prerm upgrade steps", "pretrans upgrade steps", "preinst upgrade steps", "postrm upgrade steps", "postinst upgrade steps", "posttrans upgrade steps")
	beat("three")

	o.replace("hosts/rules.cue", "rules: steps", "rules: files")
	o.replace("hosts/rules.cue", `beat: "three"`, "{}")
	release("Without the plugin")
	until(t, h, func() bool { got, _ := h.Try("systemctl", "is-active", "steps-beat.timer"); return got == "inactive\n" })
	h.Run("id", "steps") // its files may still be there

	o.replace("hosts/rules.cue", "updater: [{value: {}}]", "updater: [{value: enabled: false}]")
	o.replace("hosts/rules.cue", "rules: files: [{value: {}}]", "rules: steps: [{value: {}}]")
	deactivated(t, h, release)
}

// deactivated publishes a package without the updater, which goes by it, and leaves the registration.
func deactivated(t *testing.T, h *realhost.Host, release func(message string)) {
	t.Helper()
	registration := h.Run("cat", "/var/lib/bakehouse/registration.json")
	release("Without the updater")
	until(t, h, func() bool {
		got, _ := h.Try("systemctl", "is-active", "bakehouse-agent.service")
		return got == "inactive\n"
	})
	for _, gone := range []string{"/usr/bin/bakehouse-agent", "/etc/bakehouse/agent.json",
		"/etc/systemd/system/multi-user.target.wants/bakehouse-agent.service"} {
		if out, err := h.Try("ls", "-l", gone); err == nil {
			t.Errorf("after the updater went: %s", out)
		}
	}
	if got := h.Run("cat", "/var/lib/bakehouse/registration.json"); got != registration {
		t.Error("the registration did not stay")
	}
	if failed := h.Run("systemctl", "--failed", "--no-legend"); strings.TrimSpace(failed) != "" {
		t.Errorf("failed units:\n%s", failed)
	}
}
