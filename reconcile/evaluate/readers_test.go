package evaluate

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
	"bakehouse/schema/needs/debianroot"
)

// agents are programs of Debian's packages, which read what plugins write for them.
type agents struct{ zabbix, exporter string }

// agentsOf takes them out of their packages; none if this run needs nothing special.
func agentsOf(t *testing.T) (a agents) {
	if !needs.Everything() {
		t.Log("without BAKEHOUSE_TEST_ALL=1 Debian's zabbix_agent2 and node_exporter read nothing")
		return a
	}
	needs.Tools(t, "dpkg", "apt-get")
	dir := t.TempDir()
	for _, name := range []string{"zabbix-agent2", "prometheus-node-exporter"} {
		deb, err := debianroot.Package(name)
		if err != nil {
			needs.Missing(t, "%v", err)
		}
		if out, err := exec.CommandContext(t.Context(), "dpkg", "-x", deb, dir).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	return agents{filepath.Join(dir, "usr/sbin/zabbix_agent2"), filepath.Join(dir, "usr/bin/prometheus-node-exporter")}
}

// read has the agent that an output is for read it.
func (a agents) read(t *testing.T, e edge, out *fleet.Output) error {
	switch {
	case a == agents{}:
		return nil
	case e.plugin() == "zabbix_agent2":
		return a.readByZabbix(t, out)
	case e.plugin() == "node_exporter":
		return a.readByExporter(t, out)
	}
	return nil
}

// readByZabbix has the agent answer an item by the settings, with its files in a directory instead of /etc.
func (a agents) readByZabbix(t *testing.T, out *fleet.Output) error {
	const etc = "/etc/zabbix_agent2/"
	dir := t.TempDir() + "/"
	for _, f := range out.Files {
		name, ok := strings.CutPrefix(f.Path, etc)
		if !ok {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(dir+name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(dir+name, []byte(strings.ReplaceAll(string(f.Content), etc, dir)), 0o600); err != nil {
			return err
		}
	}
	told, err := exec.CommandContext(t.Context(), a.zabbix, "-c", dir+"agent.conf", "-t", "agent.ping").CombinedOutput()
	// Which settings there are depends on its version, which is the author's choice.
	if err != nil && !strings.Contains(string(told), ": unknown parameter") {
		return fmt.Errorf("%w: %s", err, told)
	}
	return nil
}

// readByExporter has node_exporter parse its command line. Which flags there are depends on its version, which is the
// author's choice.
func (a agents) readByExporter(t *testing.T, out *fleet.Output) error {
	words := systemdWords(t, string(fileOf(t, out, "/etc/default/node_exporter").Content))
	told, err := exec.CommandContext(t.Context(), a.exporter, append(words, "--version")...).CombinedOutput()
	if err != nil && !strings.Contains(string(told), "error: unknown ") {
		return fmt.Errorf("%w: %s", err, told)
	}
	return nil
}
