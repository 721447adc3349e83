//go:build linux || windows

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema/needs/wineroot"
)

// windowsHost is a host in Wine with a fleet of its own.
type windowsHost struct {
	*wineroot.Host
	*windowsPrograms
	fleet   *testfleet.Fleet
	program string // the host program, as Windows has it
	view    string // of the registry: that of the architecture
}

const windowsState = `C:\ProgramData\Bakehouse\state`

func newWindowsHost(t *testing.T, arch string) *windowsHost {
	t.Helper()
	h := &windowsHost{Host: wineroot.Boot(t), fleet: testfleet.NewAt(t, time.Now()),
		windowsPrograms: &windowsPrograms{t: t, arch: arch, dir: t.TempDir(), made: map[string][]byte{}},
		program:         `C:\Program Files\Bakehouse\bakehouse-agent.exe`,
		view:            "/reg:64"}
	if arch == "386" {
		h.program, h.view = `C:\Program Files (x86)\Bakehouse\bakehouse-agent.exe`, "/reg:32"
	}
	h.fleet.Add("web01")
	return h
}

// put is a file of the host with those bytes.
func (h *windowsHost) put(path string, b []byte) {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "f")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.Put(file, path)
}

// agent runs the host program and returns what it prints, and with what it ends.
func (h *windowsHost) agent(args ...string) (string, int) {
	h.t.Helper()
	began := time.Now()
	out, code := h.Output(h.program, args...)
	h.t.Logf("%q: exit code %d after %s\n%s", args, code, time.Since(began).Round(time.Millisecond), out)
	return out, code
}

func (h *windowsHost) update(want string, args ...string) {
	h.t.Helper()
	if out, _ := h.agent(append([]string{"update", "-v"}, args...)...); !strings.Contains(out, want) {
		h.t.Errorf("update says no %q", want)
		h.dump()
	}
}

// dump shows the end of the logs.
func (h *windowsHost) dump() {
	for _, name := range []string{"agent.log", "msi.log"} {
		b, _ := os.ReadFile(h.Path(windowsState + `\` + name))
		b = bytes.ReplaceAll(b, []byte{0}, nil)
		h.t.Logf("%s:\n%s", name, b[max(0, len(b)-3000):])
	}
}

// is fails unless exactly one product is installed, it is of that version, and its services run.
func (h *windowsHost) is(version string) {
	h.t.Helper()
	if products := h.products(); len(products) != 1 {
		h.t.Errorf("installed are %q", products)
	}
	if got := h.recorded(); got != version {
		h.t.Errorf("version %q is installed, want %q", got, version)
	}
	for _, s := range []string{"acme", "bakehouse-agent"} {
		if !h.runs(s) {
			h.t.Errorf("the service %s does not run", s)
		}
	}
	if h.t.Failed() {
		h.dump()
		h.t.FailNow()
	}
}

// products are the codes of what is installed of us.
func (h *windowsHost) products() (codes []string) {
	list, _ := h.Output("reg", "query", `HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall`, "/s", h.view)
	code := regexp.MustCompile(`\{[0-9A-F-]{36}\}`)
	last := ""
	for line := range strings.Lines(list) {
		if found := code.FindString(line); strings.HasPrefix(line, "HKEY") {
			last = found
		}
		if strings.Contains(line, "DisplayName") && strings.Contains(line, productName) && last != "" {
			codes = append(codes, last)
		}
	}
	return codes
}

// recorded is the installed version, by the registry.
func (h *windowsHost) recorded() string {
	out, _ := h.Output("reg", "query", `HKLM\SOFTWARE\Bakehouse`, "/v", "Version", h.view)
	_, version, _ := strings.Cut(out, "REG_SZ")
	return strings.TrimSpace(version)
}

func (h *windowsHost) runs(service string) bool {
	out, _ := h.Output("sc", "query", service)
	return regexp.MustCompile(`STATE\s*:\s*4`).MatchString(out)
}

// until waits for what must come.
func (h *windowsHost) until(what string, is func() bool) {
	h.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !is(); {
		if time.Now().After(end) {
			h.dump()
			h.t.Fatalf("%s does not come", what)
		}
	}
}

// status is what the host says of itself, as JSON.
func (h *windowsHost) status() string {
	out, _ := h.Output(h.program, "status", "--json")
	return out
}

// register installs a package manually, and registers the host.
func (h *windowsHost) register(p *trusttest.Package) {
	h.t.Helper()
	h.put(`C:\first.msi`, p.Bytes)
	h.Run("msiexec", "/i", `C:\first.msi`, "/qn")
	h.put(`C:\password`, []byte(testfleet.Password+"\n"))
	out, code := h.agent("register", "--host", "web01", "--user", testfleet.User, "--password-file", `C:\password`)
	if code != 0 || !strings.Contains(out, "registered: web01") {
		h.t.Fatal("the host is not registered")
	}
}

// spec is a package of that version in which all is well. Programs are one of two, so that few are built.
func spec(version int) windowsSpec {
	program := []string{"even", "odd"}[version%2]
	return windowsSpec{version: strconv.Itoa(version), agent: program, plugin: program, run: "serve", check: "well"}
}

// give publishes a package as the next release.
func (h *windowsHost) give(s windowsSpec) *trusttest.Package {
	h.t.Helper()
	p := h.pack(h.fleet, s)
	h.fleet.Give("web01", p)
	return p
}

func TestAWindowsHostIsInstalledUpdatedAndRolledBack(t *testing.T) {
	for _, arch := range []string{"amd64", "386"} {
		t.Run(arch, func(t *testing.T) {
			h := newWindowsHost(t, arch)
			h.register(h.give(spec(1)))
			h.update("updated: web01 runs release 1") // the same package again
			h.is("1")
			h.update("current: web01 runs release 1")
			h.give(spec(2))
			h.update("updated: web01 runs release 2") // by the program that it replaces
			h.is("2")
			if out, _ := h.agent("version"); !strings.Contains(out, "even") {
				t.Errorf("the host program is %q", out)
			}
			if out, code := h.agent("rollback"); code != 0 || !strings.Contains(out, "release 1") {
				t.Error("rollback fails")
			}
			h.is("1")

			// A service that does not start fails the installation; Wine leaves nothing installed then.
			broken := spec(3)
			broken.run = "broken"
			h.give(broken)
			h.update("failed: web01 runs release 1")
			h.is("1")
			sick := spec(4)
			sick.check = "sick"
			h.give(sick)
			h.update("failed: web01 runs release 1")
			h.is("1")

			// The service finds the next release by itself, and is replaced by it.
			quick := spec(5)
			quick.interval = time.Second
			h.give(quick)
			h.update("updated: web01 runs release 5")
			h.give(spec(6))
			h.until("release 6", func() bool { return strings.Contains(h.status(), `"release": 6`) })
			h.until("the services of release 6", func() bool { return h.runs("bakehouse-agent") && h.runs("acme") })
			h.is("6")
			for _, args := range [][]string{{"status"}, {"status", "--section"}, {"show-config"}} {
				if out, code := h.agent(args...); code != 0 {
					t.Errorf("%q: %d\n%s", args, code, out)
				}
			}
			h.uninstall()
		})
	}
}

// uninstall removes what is installed, which leaves the registration.
func (h *windowsHost) uninstall() {
	h.t.Helper()
	for _, code := range h.products() {
		h.Run("msiexec", "/x", code, "/qn")
	}
	if products := h.products(); len(products) > 0 {
		h.t.Errorf("installed are %q", products)
	}
	if h.runs("bakehouse-agent") || h.recorded() != "" {
		h.t.Error("the service is still there")
	}
	b, err := os.ReadFile(h.Path(windowsState + `\registration.json`))
	if err != nil || !bytes.Contains(b, []byte(`"web01"`)) {
		h.t.Errorf("the registration is gone: %v", err)
	}
}
