package evaluate

import (
	"fmt"
	"strings"
	"testing"
)

// What a service manager refuses, or takes for something else, is told before a host meets it.
func TestAProgramThatCannotBeRunIsRefusedWhereItIsWritten(t *testing.T) {
	file := func(mode string) string { return `files: "/usr/bin/x": {content: "#!/bin/sh\n", ` + mode + "}\n" }
	run := func(mode string) string {
		return file(mode) + "users: u: {}\n" + `services: s: {exec: "/usr/bin/x", user: "u"}`
	}
	for name, c := range map[string]struct{ lines, want string }{
		"a service": {file("") + `services: s: exec: "/usr/bin/x -a"`,
			"plugins/p/plugin.cue:4:20: plugin p: service s runs /usr/bin/x, which nobody can execute"},
		"an interval": {file("") + `intervals: i: {exec: "/usr/bin/x", every: "1h"}`,
			":4:22: plugin p: interval i runs"},
		"a health check": {file("") + `health: command: ["/usr/bin/x"]`,
			":4:9: plugin p: health check runs /usr/bin/x, which nobody can execute"},
		"a user who is not the owner": {run("mode: 0o700"),
			"which not the user u can execute: its mode is 0o700"},
		"the owner":         {run("mode: 0o700, owner: \"u\""), ""},
		"the group":         {run("mode: 0o750, group: \"u\""), ""},
		"everybody":         {file("mode: 0o755") + `services: s: exec: "/usr/bin/x"`, ""},
		"another's program": {`services: s: exec: "/usr/bin/y"`, ""},
		"a command line of a shell": {`services: s: exec: "/bin/a | /bin/b"`,
			":3:20: plugin p: service s: exec: no shell reads it, so | is an argument"},
		"a quotation mark": {`intervals: i: {exec: "/bin/a it's", every: "1h"}`,
			":3:22: plugin p: interval i: exec: the"},
		"a percent sign": {`services: s: exec: "/bin/date +%H:%M"`, "write %%H"},
		"a pattern of files": {`services: s: {exec: "/bin/a", environmentFile: "/etc/default/*"}`,
			"environmentFile has one of %*?[\\"},
	} {
		_, err := pluginOutput(t, c.lines)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whoever may change what root acts by is root.
func TestWhatRootActsByBelongsToRoot(t *testing.T) {
	file := func(path, rest string) string {
		return fmt.Sprintf("users: u: {}\nfiles: %q: {content: \"x\", %s}\n", path, rest)
	}
	program := file("/usr/bin/x", `mode: 0o755, owner: "u"`)
	for name, c := range map[string]struct{ lines, want string }{
		"a job of cron": {file("/etc/cron.d/x", `owner: "u"`),
			"plugins/p/plugin.cue:4:8: plugin p: user u may change /etc/cron.d/x, by which root acts: cron reads it"},
		"a rule of sudo that a group may write to": {file("/etc/sudoers.d/x", `mode: 0o660, group: "u"`),
			"group u may change /etc/sudoers.d/x"},
		"a drop-in that everybody may write to": {file("/etc/systemd/system/x.service.d/y.conf", `mode: 0o666`),
			"everybody may change"},
		"a directory of udev's": {"users: u: {}\n" + `files: "/etc/udev/rules.d/x": {directory: true, owner: "u"}`,
			"user u may change /etc/udev/rules.d/x"},
		"a group that may only read": {file("/etc/sudoers.d/x", `mode: 0o640, group: "u"`), ""},
		"a file of the agent's":      {file("/etc/x/x.conf", `mode: 0o600, owner: "u"`), ""},
		"a program that root runs": {program + `services: s: exec: "/usr/bin/x"`,
			"service s runs /usr/bin/x as root, and user u may change that"},
		"a program that root runs at intervals": {program + `intervals: i: {exec: "/usr/bin/x", every: "1h"}`,
			"interval i runs /usr/bin/x as root, and user u may change that"},
		"a program that its owner runs": {program + `services: s: {exec: "/usr/bin/x", user: "u"}`, ""},
	} {
		_, err := pluginOutput(t, c.lines)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestAnAddressThatIsNoneIsRefusedWhereItIsWritten(t *testing.T) {
	for _, c := range [][2]string{
		{`zabbix_agent2: [{value: {package: "p", server: ["a", "10.1.0.300"]}}]`,
			`zabbix_agent2.server[1]: "10.1.0.300" is not`},
		{`zabbix_agent2: [{value: {package: "p", server: ["10.1.0.0/64"]}}]`,
			`"10.1.0.0/64" is not a network`},
		{`zabbix_agent2: [{value: {package: "p", serverActive: ["a:b"]}}]`,
			`serverActive[0]: port "b" is out of range`},
		{`zabbix_agent2: [{value: {package: "p", listenIP: ["eth0"]}}]`,
			`listenIP[0]: "eth0" is not an IP address`},
		{`node_exporter: [{value: {program: "p", listen: ":70000"}}]`,
			`node_exporter.listen: port "70000" is out of range`},
		{`node_exporter: [{value: {program: "p", listen: "10.1.0.300:9100"}}]`,
			`node_exporter.listen: "10.1.0.300" is not`},
		{`node_exporter: [{value: {program: "p", allow: ["10.0.0.0/99"]}}]`,
			`node_exporter.allow[0]: "10.0.0.0/99" is not`},
		{`checkmk: [{value: {agent: "p", only_from: "10.1.0.300"}}]`,
			`checkmk.only_from: "10.1.0.300" is neither`},
		{`checkmk: [{value: {agent: "p", controller: "p", listen: "99999"}}]`,
			`checkmk.listen: port "99999" is out of range`},
		{`updater: [{value: server: "https://10.1.0.300"}]`,
			`server: "10.1.0.300" is not an IP address`},
	} {
		rule, want := c[0], c[1]
		told := ""
		plugin, _, _ := strings.Cut(rule, ":")
		for _, text := range []string{"package r\nrules: " + rule + "\n", "package r\nrules: {\n\n" + rule + "\n}\n"} {
			told = whole(t, repo(map[string]string{"hosts/r/r.cue": text}), plugin)
			line := fmt.Sprintf("hosts/r/r.cue:%d:", strings.Count(text[:strings.Index(text, rule)], "\n")+1)
			if !strings.Contains(told, line) || !strings.Contains(told, want) {
				t.Errorf("%s: %s, want %s… %s", rule, told, line, want)
			}
		}
	}
	told := refused(t, repo(map[string]string{"hosts/r.cue": "package hosts\nhosts: web02: address: \"10.1.0.300\"\n"}))
	if !strings.Contains(told, `hosts/r.cue:2:15: host web02: address "10.1.0.300" is not an IP address`) {
		t.Error(told)
	}
	told = refused(t, repo(map[string]string{"hosts/r.cue": "package hosts\nrules: p: [{value: a: \"x\"}]\n",
		"plugins/p/plugin.cue": "package p\nplugin: params: a?: string @form(adress)\n"}))
	if !strings.Contains(told, `plugins/p/plugin.cue:2:`) || !strings.Contains(told, `unknown form "adress"`) {
		t.Error(told)
	}
}
