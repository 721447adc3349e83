package evaluate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema/fleet"
)

// TestAPackageWithTheUpdaterBringsWhatAsksItHowItIs is also that a plugin whose rule says otherwise, or whose package
// has no updater, brings nothing.
func TestAPackageWithTheUpdaterBringsWhatAsksItHowItIs(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"hosts/r.cue": "package hosts\nrules: zabbix_agent2: [{value: {}}]\nrules: node_exporter: [{value: {}}]\n" +
			"rules: checkmk: [{value: {agent: \"agent\", only_from: \"127.0.0.1\"}}]\n",
		"agent":                                  "#!/bin/sh\n",
		"programs/node_exporter-linux-amd64":     "binary",
		"packages/zabbix-agent2-linux-amd64.deb": tarOf(t, "./usr/sbin/zabbix_agent2", "the agent"),
	}))
	output := func(plugin, value string, updater bool) *fleet.Output {
		t.Helper()
		in := fleet.Inputs{Platform: amd64, Host: map[string]string{"name": "web01"}, Updater: updater,
			Fleet: f.Info(amd64)}
		out, err := f.Output(t.Context(), plugin, in, given(t, value))
		if err != nil {
			t.Fatalf("%s %s: %v", plugin, value, err)
		}
		return out
	}
	const agent = `agent: "agent", only_from: "127.0.0.1"`
	for _, c := range []struct {
		plugin, value string
		updater, has  bool
	}{
		{"checkmk", agent, true, true},
		{"checkmk", agent, false, false},
		{"checkmk", agent + ", updates: false", true, false},
		{"checkmk", agent + ", updates: true", false, true},
		{"node_exporter", "", true, true},
		{"node_exporter", "", false, false},
		{"node_exporter", "updates: false", true, false},
		{"zabbix_agent2", "", true, true},
		{"zabbix_agent2", "", false, false},
		{"zabbix_agent2", `userParameters: "bakehouse.status": "true"`, true, false},
	} {
		out := output(c.plugin, c.value, c.updater)
		has := slices.ContainsFunc(out.Files, func(f fleet.File) bool {
			text := string(f.Content)
			return f.Path == "/usr/lib/check_mk_agent/plugins/bakehouse" && f.Mode == 0o755 &&
				strings.HasSuffix(text, "exec /usr/bin/bakehouse-agent section\n") ||
				strings.Contains(text, "UserParameter=bakehouse.status,/usr/bin/bakehouse-agent status --json\n")
		}) || slices.ContainsFunc(out.Intervals, func(i fleet.Interval) bool {
			return i.Exec == "/usr/bin/bakehouse-agent status --prometheus /var/lib/node_exporter/bakehouse.prom" &&
				time.Duration(i.Every) == 5*time.Minute
		})
		if has != c.has {
			t.Errorf("%s %q, updater %v: %v", c.plugin, c.value, c.updater, has)
		}
	}
	for value, want := range map[string]string{
		"": "--collector.textfile.directory=/var/lib/node_exporter\"",
		`collectors: ["cpu"]`: "--collector.disable-defaults --collector.cpu --collector.textfile " +
			"--collector.textfile.directory=/var/lib/node_exporter\"",
		`arguments: ["--collector.textfile.directory=/srv/t"]`: ":9100 --collector.textfile.directory=/srv/t\"",
	} {
		out := output("node_exporter", value, true)
		got := strings.TrimSpace(string(fileOf(t, out, "/etc/default/node_exporter").Content))
		if !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, want …%s", value, got, want)
		}
	}
}

func TestShippedPluginsKeepTheNamesOfTheirMonitoring(t *testing.T) {
	f := loaded(t, repo(map[string]string{
		"hosts/r.cue": "package hosts\nrules: zabbix_agent2: [{value: {}}]\nrules: node_exporter: [{value: {}}]\n" +
			"rules: checkmk: [{value: {agent: \"agent\", only_from: \"127.0.0.1\"}}]\n",
		"agent":                                  "#!/bin/sh\n",
		"programs/node_exporter-linux-amd64":     "binary",
		"packages/zabbix-agent2-linux-amd64.deb": tarOf(t, "./usr/sbin/zabbix_agent2", "the agent"),
	}))
	for _, c := range []struct{ plugin, value, output, names string }{
		// As node_exporter 1.5 and zabbix_agent2 6.0 print it, and Checkmk's agent by its documentation.
		{"checkmk", `agent: "agent", only_from: "127.0.0.1", dropped: ["x"]`,
			"<<<check_mk>>>\nVersion: 2.3.0\n<<<lnx_if:sep(58)>>>\n<<<<piggy>>>>\n<<<mem>>>\n<<<<>>>>\n",
			"check_mk lnx_if mem"},
		{"node_exporter", `dropped: ["x"]`,
			"# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.2\n",
			"node_load1"},
		{"zabbix_agent2", `dropped: ["x"]`, "agent.ping                                    [s|1]\n" +
			"vfs.fs.size[/,free]                           [s|1]\nroot:x:0:0:root:/root:/bin/bash\n" +
			"system.run[echo test]                         [m|ZBX_NOTSUPPORTED] [Unknown metric system.run]\n" +
			"net.dns.record[,zabbix.com]                   [m|ZBX_NOTSUPPORTED] [Cannot perform DNS query.]\n",
			"agent.ping net.dns.record vfs.fs.size"},
	} {
		out, err := outputOf(t, f, c.plugin, c.value)
		if err != nil {
			t.Fatal(err)
		}
		k := out.Keeps
		if k == nil || k.Check() != nil || !slices.Equal(k.Dropped, []string{"x"}) {
			t.Errorf("%s: %+v", c.plugin, k)
			continue
		}
		names, err := k.In(strings.NewReader(c.output))
		if got := strings.Join(names, " "); err != nil || got != c.names {
			t.Errorf("%s: %q, %v; want %q", c.plugin, got, err, c.names)
		}
	}
	for value, want := range map[string]string{
		"": "http://127.0.0.1:9100/metrics", `listen: "[::]:1"`: "http://[::1]:1/metrics",
		`listen: "10.0.0.7:9"`: "http://10.0.0.7:9/metrics", `web: rate_limit: {}`: "",
	} {
		out, err := outputOf(t, f, "node_exporter", value)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if out.Keeps != nil {
			got = out.Keeps.URL
		}
		if got != want {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
}
