package evaluate

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// pluginOutput is what a plugin of these lines yields.
func pluginOutput(t *testing.T, lines string) (*fleet.Output, error) {
	t.Helper()
	f, err := Load(t.Context(), repo(map[string]string{"plugins/p/plugin.cue": "package p\nplugin: {\n" + lines +
		"\n}\n"}), nil)
	if err != nil {
		return nil, err
	}
	return outputOf(t, f, "p", "")
}

func TestAPluginSaysWhatRunsAsWhomAndWhen(t *testing.T) {
	out, err := pluginOutput(t, `
		files: "/etc/m/token": {content: "t", mode: 0o640, owner: "root", group: "monitor"}
		users: {monitor: {description: "Monitoring agent", home: "/var/lib/monitor", groups: ["disk", "adm", "adm"]}
			other: {}}
		groups: ["readers"]
		services: door: {exec: "/usr/bin/agent", user: "monitor", restart: "no"
			listen: ["6556", "127.0.0.1:6557", "[::1]:6558", "/run/agent.sock"]
			allow: ["10.1.2.3/8", "::1", "127.0.0.1", "127.0.0.1/32"]}
		intervals: {
			slow: {exec: "/usr/bin/slow $ARGS", every: "1d", timeout: "90s", user: "monitor"
				output: "/var/cache/agent/slow", environmentFile: "/etc/default/slow"}
			tidy: {exec: "/usr/bin/tidy", every: "15m", description: "Tidies up", enable: false}
		}
		scripts: {pretrans: "a", posttrans: "\tb\nc\n", postrm: " \n"}
		relations: {
			depends: ["libc6 >= 2.31", "bash"]
			replaces: ["old-agent"]
			deb: depends: ["default-mta | mail-transport-agent >= 1:2", "bash"]
			rpm: {depends: ["/bin/sh", "perl(Carp)"], provides: ["agent = 1.0-1"]}
		}`)
	if err != nil {
		t.Fatal(err)
	}
	for i := range out.Files {
		out.Files[i].Pos = fleet.Pos{}
	}
	if f := fileOf(t, out, "/etc/m/token"); f.Owner != "" || f.Group != "monitor" {
		t.Errorf("file %+v", f)
	}
	if s := out.Services[0]; s.User != "monitor" ||
		!reflect.DeepEqual(s.Listen, []string{"6556", "127.0.0.1:6557", "[::1]:6558", "/run/agent.sock"}) ||
		!reflect.DeepEqual(s.Allow, []string{"10.0.0.0/8", "127.0.0.1/32", "::1/128"}) {
		t.Errorf("service %+v", s)
	}
	for i := range out.Intervals {
		out.Intervals[i].Pos = fleet.Pos{}
	}
	want := []fleet.Interval{
		{Name: "slow", Description: "slow", Exec: "/usr/bin/slow $ARGS", Every: schema.Duration(24 * time.Hour),
			Timeout: schema.Duration(90 * time.Second),
			User:    "monitor", Output: "/var/cache/agent/slow", EnvironmentFile: "/etc/default/slow", Enable: true},
		{Name: "tidy", Description: "Tidies up", Exec: "/usr/bin/tidy", Every: schema.Duration(15 * time.Minute)},
	}
	if !reflect.DeepEqual(out.Intervals, want) {
		t.Errorf("intervals %+v", out.Intervals)
	}
	if u := out.Users[0]; len(out.Users) != 2 || u.Home != "/var/lib/monitor" ||
		!reflect.DeepEqual(u.Groups, []string{"adm", "disk"}) || out.Users[1].Home != "/" {
		t.Errorf("users %+v", out.Users)
	}
	if !reflect.DeepEqual(out.Groups, []string{"readers"}) ||
		!reflect.DeepEqual(out.Scripts, map[string]string{"pretrans": "a", "posttrans": "\tb\nc\n"}) {
		t.Errorf("groups %q, scripts %q", out.Groups, out.Scripts)
	}
	for format, want := range map[schema.Format]string{"deb": "bash, default-mta | mail-transport-agent >= 1:2, libc6 " +
		">= 2.31", "rpm": "/bin/sh, bash, libc6 >= 2.31, perl(Carp)", "tgz": "bash, libc6 >= 2.31"} {
		var got []string
		for _, r := range out.Relations.In(format).Depends {
			got = append(got, r.String())
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s depends on %q, want %s", format, got, want)
		}
	}
	if p := out.Relations.In("rpm").Provides; len(p) != 1 || p[0].Name != "agent" || p[0].Op != "=" ||
		p[0].Version != "1.0-1" {
		t.Errorf("provides %+v", p)
	}
}

func TestNoFieldOfAPluginCarriesMoreThanItSays(t *testing.T) {
	service := func(field, value string) string { return `services: s: {exec: "/bin/x", ` + field + `: ` + value + `}` }
	interval := func(field, value string) string {
		return `intervals: i: {` + map[bool]string{true: "", false: `every: "1h", `}[field == "every"] +
			map[bool]string{true: "", false: `exec: "/bin/x", `}[field == "exec"] + field + `: ` + value + `}`
	}
	for name, c := range map[string]struct{ lines, want string }{
		"an owner with a line break": {`files: "/x": {content: "", owner: "root\n"}`,
			"not the name of a user or group"},
		"an owner that is an option": {`files: "/x": {content: "", owner: "-x"}`,
			"not the name of a user or group"},
		"a group with a colon": {`files: "/x": {content: "", group: "a:b"}`,
			"not the name of a user or group"},
		"a listener that is a specifier":    {service("listen", `["/run/%n"]`), "is not a port"},
		"a listener with a line break":      {service("listen", `["6556\nExecStartPre=/bin/evil"]`), "is not a port"},
		"a listener on port 0":              {service("listen", `["0"]`), "is not a port"},
		"a listener on a port out of range": {service("listen", `["65536"]`), "is not a port"},
		"a listener on a written-out port":  {service("listen", `["06556"]`), "is not a port"},
		"a listener on a name":              {service("listen", `["localhost:1"]`), "is not a port"},
		"a network with a line break": {service("allow", `["10.0.0.0/8\nUser=root"]`),
			"neither an address nor a network"},
		"a network that is a name":           {service("allow", `["any"]`), "neither an address nor a network"},
		"nobody":                             {service("allow", `[]`), "nobody could connect"},
		"an interval's command with a break": {interval("exec", `"/bin/x\nUser=root"`), "exec holds control characters"},
		"an interval's relative command":     {interval("exec", `"x"`), "absolute path"},
		"an interval's description with break": {interval("description", `"a\u0000"`),
			"description holds control characters"},
		"an interval's environment with break": {interval("environmentFile", `"/a\n"`),
			"environmentFile holds control characters"},
		"an interval's user with a break": {interval("user", `"a\nb"`), "not the name of a user or group"},
		"an interval below a second":      {interval("every", `"100ms"`), "not whole seconds"},
		"an interval between seconds":     {interval("every", `"1.5s"`), "not whole seconds"},
		"an interval of years":            {interval("every", `"367d"`), "not whole seconds"},
		"a timeout of nothing":            {interval("timeout", `"0s"`), "not whole seconds"},
		"output outside the cache": {interval("output", `"/etc/passwd"`),
			"not a file below a folder of /var/cache"},
		"output that climbs": {interval("output", `"/var/cache/a/../../../etc/x"`),
			"not a file below a folder of /var/cache"},
		"output in the cache itself": {interval("output", `"/var/cache/x"`),
			"not a file below a folder of /var/cache"},
		"output with a line break": {interval("output", `"/var/cache/a/b\n"`),
			"not a file below a folder of /var/cache"},
		"output with a quote": {interval("output", `"/var/cache/a/b'"`),
			"not a file below a folder of /var/cache"},
		"an interval outside its folder": {`intervals: "../i": {exec: "/bin/x", every: "1h"}`,
			"the name is not letters"},
		"an interval that is a service": {`services: i: exec: "/bin/x"` + "\n" + interval("user", `"a"`),
			"i is both a service and an interval"},
		"a user with a line break":              {`users: "a\nb": {}`, "not a system user's name"},
		"root":                                  {`users: root: {}`, "not a system user's name"},
		"a user's description with a break":     {`users: u: description: "a\nb"`, "description is not"},
		"a user's description with a colon":     {`users: u: description: "a:b"`, "description is not"},
		"a user's description with a quote":     {`users: u: description: "a\"b"`, "description is not"},
		"a user's description with a specifier": {`users: u: description: "a%b"`, "description is not"},
		"a user's home with a break":            {`users: u: home: "/a\nb"`, "not an absolute, clean path"},
		"a user's home with a command":          {`users: u: home: "/$(id)"`, "not an absolute, clean path"},
		"a user's relative home":                {`users: u: home: "srv"`, "not an absolute, clean path"},
		"a user's shell with a break":           {`users: u: shell: "/bin/sh\n"`, "not an absolute, clean path"},
		"a user's group with a break":           {`users: u: groups: ["a\nb"]`, "not a group's name"},
		"a group with a command":                {`groups: ["a;id"]`, "not a group's name"},
		"a dependency with a line break":        {`relations: depends: ["a-b\nDepends: evil"]`, "control characters"},
		"a dependency with a comma":             {`relations: depends: ["ab, cd"]`, "it is not NAME"},
		"a dependency's version with a bracket": {`relations: depends: ["ab >= 1)"]`, "is not a version"},
		"a dependency on a relation":            {`relations: depends: ["ab << 1"]`, "is none of"},
		"alternatives for all formats": {`relations: depends: ["ab | cd"]`,
			"only what a deb depends on has alternatives"},
		"alternatives for rpm": {`relations: rpm: depends: ["ab | cd"]`,
			"only what a deb depends on has alternatives"},
		"alternatives of a conflict": {`relations: deb: conflicts: ["ab | cd"]`,
			"only what a deb depends on has alternatives"},
		"an rpm capability for all formats": {`relations: depends: ["/bin/sh"]`, "say it under deb or rpm"},
		"an rpm capability for deb":         {`relations: deb: depends: ["perl(Carp)"]`, "not a package's name"},
		"an rpm name with a blank":          {`relations: rpm: depends: ["a b"]`, "it is not NAME"},
		"a range that is provided":          {`relations: provides: ["ab >= 1"]`, "one version"},
		"a format that has no relations":    {`relations: tgz: depends: ["ab"]`, "unknown field tgz"},
		"a script that steers a terminal": {`scripts: postinst: "echo \u001b[2J"`,
			"script postinst: it holds control characters"},
		"a script with foreign line ends": {`scripts: postinst: "true\r\n"`, "script postinst: it holds control characters"},
		"a script that sh cannot read": {`scripts: postinst: "if true\nthen echo 'x\nfi\n"`,
			"script postinst:2:11: reached EOF without closing quote `'`"},
		"a script for another shell": {`scripts: prerm: "a=(1 2)"`, "script prerm:1:3: "},
		"a directory with a path":    {service("directories", `{run: "a/b"}`), `"a/b" is not the name of a folder`},
		"the updater's directory": {service("directories", `{state: "bakehouse"}`),
			`"bakehouse" is not the name of a folder`},
		"directories for each connection": {service("directories", `{run: "a"}, listen: ["1"]`), "has no directories"},
		"a service named as a timer":      {`services: "x.timer": exec: "/bin/x"`, "ends in .service, .timer or .socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := pluginOutput(t, c.lines)
			var ps fleet.Problems
			if !errors.As(err, &ps) || !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(ps[0].Pos.File, "plugins/p") {
				t.Errorf("got %+v, %v, want %s", out, err, c.want)
			}
		})
	}
}
