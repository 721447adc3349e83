package examples_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"bakehouse/examples/internal/realhost"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// The commands of the guide, as they are, on a booted Debian: installed, published to, started, looked at, backed up.
func TestTheServerRunsAsAService(t *testing.T) {
	t.Parallel()
	h := realhost.Boot(t, "server")
	needs.Tools(t, "rsync", "curl", "tar")
	guide, err := os.ReadFile("server/README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, b := range shellBlock.FindAllStringSubmatch(string(guide), -1) {
		blocks = append(blocks, b[1])
	}
	if len(blocks) != 5 {
		t.Fatalf("the guide has %d blocks of commands", len(blocks))
	}
	install, publish, start, look, backup := blocks[0], blocks[1], blocks[2], blocks[3], blocks[4]

	listen := netip.AddrPortFrom(h.Addr, 8443)
	o := newOperator(t, "quickstart", listen)
	o.replace("fleet.cue", "url: \"https://127.0.0.1:8443\"\n", "")
	o.replace("hosts/hosts.cue", "linux/amd64", "linux/"+runtime.GOARCH)
	o.createKeys()
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", o.source)
	o.commit("The fleet")
	o.reconcile()

	const dir = "/root/server"
	for name, file := range map[string]string{
		"bakehouse": o.program, "server.pem": o.cert, "server.key": o.key,
		"1.root.json":               filepath.Join(o.repo, "trust/1.root.json"),
		"bakehouse-server.service":  "server/bakehouse-server.service",
		"bakehouse-server.sysusers": "server/bakehouse-server.sysusers",
		"bakehouse-server.tmpfiles": "server/bakehouse-server.tmpfiles",
	} {
		h.Copy(filepath.Join(dir, name), 0o600, file)
	}
	on := func(commands string) string {
		return h.Run("bash", "-euxo", "pipefail", "-c", "cd "+dir+"\n"+commands)
	}
	here := func(commands string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", commands)
		cmd.Dir = filepath.Dir(o.store)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", commands, err, out)
		}
		return string(out)
	}
	on(install)

	// rsync copies to another directory here, and tar from there to the server.
	if filepath.Base(o.store) != "store" {
		t.Fatal(o.store)
	}
	copied := filepath.Join(t.TempDir(), "srv") + "/"
	publishIt := func() {
		t.Helper()
		if err := os.MkdirAll(copied, 0o700); err != nil {
			t.Fatal(err)
		}
		here(strings.ReplaceAll(publish, "bakehouse@server:/srv/bakehouse/", copied))
		archive, err := exec.CommandContext(t.Context(), "tar", "-C", copied, "-c", ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		cmd := h.Command(t.Context(), "runuser", "-u", "bakehouse", "--",
			"tar", "-C", "/srv/bakehouse", "-x", "--no-same-owner")
		cmd.Stdin = bytes.NewReader(archive)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	publishIt()
	if out := on(start); !strings.Contains(out, "\nactive\n") {
		t.Errorf("after its start the service is not active:\n%s", out)
	}
	listens := func(times int) {
		t.Helper()
		until(t, h, func() bool {
			out, _ := h.Try("journalctl", "--unit=bakehouse-server", "--no-pager")
			return strings.Count(out, "listening on https://") == times
		})
	}
	listens(1)
	o.untilHealth("its first release", func(s health) bool { return s.Status == "ok" && s.Timestamp == 1 })

	// systemd has nothing to say of the unit, and finds little that it could do to the machine.
	if out, err := h.Try("systemd-analyze", "verify", "bakehouse-server.service"); err != nil || strings.Contains(out,
		"bakehouse") {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	exposure, err := h.Try("systemd-analyze", "security", "--no-pager", "--threshold=15", "bakehouse-server")
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, exposure)
	}
	on("systemctl kill --signal=HUP bakehouse-server; systemctl is-active bakehouse-server")

	// It writes its database, which is its own, and serves what comes later.
	register, err := http.NewRequestWithContext(t.Context(), http.MethodPost, o.url+schema.RegisterPath,
		strings.NewReader(fmt.Sprintf(`{"schema":{"min":1,"max":1},"host":"web01","platform":"linux/%s","agent":"1"}`,
			runtime.GOARCH)))
	if err != nil {
		t.Fatal(err)
	}
	register.SetBasicAuth("ops", password)
	answer, err := o.client.Do(register)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("registration: %v, %+v", err, answer)
	}
	answer.Body.Close()
	owner := on("stat --format='%U %a' /var/lib/bakehouse-server/inventory.db")
	if !strings.Contains(owner, "\nbakehouse 600\n") {
		t.Errorf("the database: %s", owner)
	}
	o.replace("hosts/rules.cue", "disk: 90", "disk: 80")
	o.commit("Another limit")
	o.reconcile()
	publishIt()
	o.untilServed(2)

	curl, journal, _ := strings.Cut(look, "\n")
	answered := here(strings.Replace(curl, "https://bakehouse.example:8443", o.url, 1))
	if !strings.Contains(answered, `"status":"ok","timestamp":2`) {
		t.Errorf("curl: %s", answered)
	}
	if out := on(journal); !strings.Contains(out, "listening on https://") || !strings.Contains(out, "registered") {
		t.Errorf("the journal: %s", out)
	}

	on(backup)
	if out := on("tar -tzf /var/backups/bakehouse/store.tgz"); !strings.Contains(out, "timestamps/000000000002.json") ||
		!strings.Contains(out, "./segments/") || strings.Contains(out, ".tmp") {
		t.Errorf("the backup of the store has\n%s", out)
	}
	out := on("ls -l /var/backups/bakehouse/inventory.db; systemctl is-active bakehouse-server")
	if !strings.Contains(out, "\nactive\n") {
		t.Errorf("after the backup: %s", out)
	}
	listens(2)
	o.untilServed(2)

	// The sandbox holds: nothing of the system can be written, and no capability is left.
	pid := strings.TrimSpace(h.Run("systemctl", "show", "--property=MainPID", "--value", "bakehouse-server"))
	if got := h.Run("grep", "-E", "^(CapEff|CapBnd|NoNewPrivs|Uid)", "/proc/"+pid+"/status"); !regexp.MustCompile(
		`CapEff:\t0+\nCapBnd:\t0+\n(?s:.*)NoNewPrivs:\t1`).MatchString(got) || strings.Contains(got, "Uid:\t0\t") {
		t.Errorf("the server runs with\n%s", got)
	}
}
