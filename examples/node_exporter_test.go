package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/examples/internal/realhost"
	"bakehouse/schema"
	"bakehouse/schema/needs"
)

// nodeExporter is the version that the example's README names.
const nodeExporter = "github.com/prometheus/node_exporter@v1.12.1"

// The whole way that the example's README describes, with nothing replaced: the payload is the real exporter, the host
// is a booted Debian with its own dpkg and systemd, and what it fetches crosses a network link.
func TestTheNodeExporterFleetUpdatesARealDebianHost(t *testing.T) {
	h := realhost.Boot(t, "db01")
	listen := freePort(t, h.Gateway)
	o := newOperator(t, "node-exporter", listen)
	buildNodeExporter(t, filepath.Join(o.repo, "plugins/node_exporter/node_exporter-"+runtime.GOARCH))
	o.replace("hosts/hosts.cue", "linux/amd64", "linux/"+runtime.GOARCH)

	o.createKeys()
	o.run("upgrade", "--platform", "linux/"+runtime.GOARCH, "--source", o.source)
	o.commit("The fleet")
	o.run("check")
	o.reconcile()
	o.serve(listen)

	// The first installation, by hand.
	deb := filepath.Join(t.TempDir(), "db01.deb")
	o.run("package", "get", "db01", "--store", o.store, "-o", deb)
	h.Copy("/root/db01.deb", 0o644, deb)
	h.Run("dpkg", "--install", "/root/db01.deb")
	for _, unit := range []string{"node_exporter", "bakehouse-agent"} {
		if state := strings.TrimSpace(h.Run("systemctl", "is-active", unit)); state != "active" {
			t.Errorf("after dpkg, systemd calls %s %q", unit, state)
		}
	}
	if user := h.Run("systemctl", "show", "--property=User", "--value", "node_exporter"); strings.TrimSpace(user) != "node-exporter" {
		t.Errorf("the exporter runs as %q", user)
	}
	h.Write("/root/password", 0o600, []byte(password+"\n"))
	h.Run("bakehouse-agent", "register", "--host", "db01", "--user", "ops", "--password-file", "/root/password")

	url := "http://" + netip.AddrPortFrom(h.Addr, 9100).String() + "/metrics"
	metrics(t, url, []string{"node_load1 ", "node_disk_io_now{", "node_exporter_build_info{"}, []string{"node_memory_", "node_cpu_"})

	// The first update fetches all segments: what dpkg unpacked by hand cannot be turned back into them. The next one has
	// nothing to do.
	h.Run("bakehouse-agent", "update", "-v")
	if s := statusOf(t, h); s.Last.State != schema.StateCurrent || s.Installed.Release != 1 {
		t.Errorf("after registration and an update, the host's state is %+v", s)
	}
	before := h.Received()
	h.Run("bakehouse-agent", "update", "-v")
	if wire := h.Received() - before; wire > 16<<10 {
		t.Errorf("an update with nothing to do moved %d bytes over the link", wire)
	}
	pid := h.Run("systemctl", "show", "--property=MainPID", "--value", "node_exporter")

	// A rule changes by commit, and the host updates itself.
	o.replace("hosts/rules.cue", `["loadavg", "diskstats"]`, `["loadavg", "meminfo"]`)
	o.commit("Memory instead of disks for databases")
	published := o.served()
	o.reconcile()
	o.untilServed(published + 1)
	before = h.Received()
	told := h.Run("bakehouse-agent", "update", "-v")
	wire := h.Received() - before
	t.Logf("bakehouse-agent update -v:\n%s", told)

	metrics(t, url, []string{"node_load1 ", "node_memory_MemTotal_bytes "}, []string{"node_disk_", "node_cpu_"})
	if now := h.Run("systemctl", "show", "--property=MainPID", "--value", "node_exporter"); now == pid {
		t.Error("the exporter was not restarted")
	}
	for _, unit := range []string{"node_exporter", "bakehouse-agent"} {
		if state := strings.TrimSpace(h.Run("systemctl", "is-active", unit)); state != "active" {
			t.Errorf("after the update, systemd calls %s %q", unit, state)
		}
	}
	info, err := os.Stat(deb)
	if err != nil {
		t.Fatal(err)
	}
	s := statusOf(t, h)
	t.Logf("the package has %d bytes; the update fetched %d, and %d crossed the link in all", info.Size(), s.Fetched, wire)
	if s.Last.State != schema.StateCurrent || s.Installed.Release != 2 {
		t.Errorf("after the update, the host's state is %+v", s)
	}
	if s.Fetched < 1 || s.Fetched > 16<<10 {
		t.Errorf("the update of one rule fetched %d bytes", s.Fetched)
	}
	if wire > 64<<10 { // TLS handshakes, headers and acknowledgements included
		t.Errorf("the update of one rule moved %d bytes over the link", wire)
	}
	if out := h.Run("dpkg", "--verify", "bakehouse-agent"); out != "" {
		t.Errorf("dpkg finds the installed package altered:\n%s", out)
	}
	if out := h.Run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "bakehouse-agent"); out != "installed" {
		t.Errorf("dpkg calls the package %q", out)
	}
}

// freePort returns an address on gateway that nothing listens on. Hosts must know the port before the server starts,
// since it stands in their signed packages; nobody but this test uses the network that gateway is in.
func freePort(t *testing.T, gateway netip.Addr) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(gateway, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// buildNodeExporter compiles the real exporter from the module proxy. Go's caches make that quick from the second time.
func buildNodeExporter(t *testing.T, to string) {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "install", "-trimpath", "-ldflags=-s -w", nodeExporter)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		needs.Missing(t, "%s cannot be built: %v\n%s", nodeExporter, err, out)
	}
	if err := os.Rename(filepath.Join(dir, "node_exporter"), to); err != nil {
		t.Fatal(err)
	}
}

// metrics waits until the page shows all that it shall, for the service may just be starting, and then checks that it
// shows nothing of what it shall not.
func metrics(t *testing.T, url string, shown, hidden []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		page, err := get(ctx, url)
		if err == nil {
			err = showsAll(page, shown)
		}
		if err == nil {
			for _, s := range hidden {
				if showsAll(page, []string{s}) == nil {
					t.Errorf("%s shows %q, whose collector is not enabled", url, s)
				}
			}
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %v", url, err)
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return string(b), err
}

// showsAll reports which line starts are missing in a page.
func showsAll(page string, starts []string) error {
	for _, s := range starts {
		if !strings.Contains("\n"+page, "\n"+s) {
			return fmt.Errorf("no line starts with %q", s)
		}
	}
	return nil
}

// status is what `bakehouse-agent status --json` says, as far as it matters here.
type status struct {
	Stopped []string
	Last    struct {
		State, Code, Error string
	}
	Installed struct {
		Release int64
	}
	Fetched int64 // bytes of bodies that the last update read
}

func statusOf(t *testing.T, h *realhost.Host) status {
	t.Helper()
	var s status
	if err := json.Unmarshal([]byte(h.Run("bakehouse-agent", "status", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}
