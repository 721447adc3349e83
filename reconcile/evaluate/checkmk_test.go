package evaluate

import (
	"reflect"
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

// checkmkFleet has the plugin, and an agent's script.
func checkmkFleet(t *testing.T) *Repo {
	t.Helper()
	return loaded(t, repo(map[string]string{"vendor/agent": "#!/bin/sh\n", "vendor/ctl": "#!/bin/sh\n",
		"vendor/mk_apt":   "#!/bin/sh\n",
		"hosts/all/r.cue": "package all\nrules: checkmk: [{when: hosts: [], value: {}}]\n"}))
}

func checkmk(t *testing.T, value string) (*fleet.Output, error) {
	t.Helper()
	return outputOf(t, checkmkFleet(t), "checkmk", value)
}

func TestCheckmkPutsEverythingWhereTheAgentLooks(t *testing.T) {
	out, err := checkmk(t, `agent: "vendor/agent", only_from: "192.0.2.7  10.0.0.0/8"
		passphrase: "it's 100%$HOME", listen: "[::1]:6557"
		plugins: [{name: "mk_apt", source: "vendor/mk_apt", interval: "4h"}, {name: "lnx", content: "x"}]
		local: [{name: "mine", content: "y", interval: "90s"}]
		mrpe: [{name: "Disk / 100%", command: "/usr/bin/check_disk -w 10% -p '/'", interval: "5m"},
			{name: "Load", command: "/usr/bin/check_load"}]
		config: {"logwatch.cfg": content: "l", "mysql.cfg": {content: "m", secret: true}}`)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range out.Files {
		got = append(got, f.Path+" "+f.Mode.String()+" "+f.Owner+":"+f.Group+" "+f.Repo+" "+string(f.Content))
	}
	want := []string{
		"/etc/check_mk/encryption.cfg -rw------- :  ENCRYPTED=yes\nPASSPHRASE='it'\\''s 100%$HOME'\n",
		"/etc/check_mk/logwatch.cfg -rw-r--r-- :  l",
		"/etc/check_mk/mrpe.cfg -rw-r----- :  Disk%20/%20100%25 (interval=300) /usr/bin/check_disk -w 10% -p '/'\nLoad " +
			"/usr/bin/check_load\n",
		"/etc/check_mk/mysql.cfg -rw------- :  m",
		"/usr/bin/check_mk_agent -rwxr-xr-x : vendor/agent ",
		"/usr/lib/check_mk_agent/local/90/mine -rwxr-xr-x :  y",
		"/usr/lib/check_mk_agent/plugins/14400/mk_apt -rwxr-xr-x : vendor/mk_apt ",
		"/usr/lib/check_mk_agent/plugins/lnx -rwxr-xr-x :  x",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	s := out.Services[0]
	if s.Name != "checkmk" || s.User != "" || !reflect.DeepEqual(s.Listen, []string{"[::1]:6557"}) ||
		!reflect.DeepEqual(s.Allow, []string{"10.0.0.0/8", "192.0.2.7/32"}) {
		t.Errorf("service %+v", s)
	}
	if r := out.Relations.In("rpm"); len(r.Conflicts) != 1 || r.Replaces[0].Name != "check-mk-agent" ||
		len(out.Users)+len(out.Scripts) != 0 {
		t.Errorf("%+v, users %v, scripts %v", r, out.Users, out.Scripts)
	}
}

func TestCheckmkRunsAsAUserOfItsOwn(t *testing.T) {
	out, err := checkmk(t, `agent: "vendor/agent", user: "cmk", passphrase: "12345678", only_from: "::/0"`)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Users) != 1 || out.Users[0].Name != "cmk" || out.Services[0].User != "cmk" ||
		fileOf(t, out, "/etc/check_mk/encryption.cfg").Owner != "cmk" ||
		!strings.Contains(out.Scripts["postinst"], "chown -R cmk:cmk") || len(out.Services[0].Allow) != 1 ||
		out.Services[0].Listen[0] != "6556" {
		t.Errorf("%+v", out)
	}
}

func TestCheckmkRefusesWhatTheAgentWouldMisread(t *testing.T) {
	f := checkmkFleet(t)
	for name, c := range map[string]struct{ value, want string }{
		"no agent":                       {``, "needs the parameter agent"},
		"an agent that is not there":     {`agent: "vendor/none", only_from: "::1"`, "there is no file vendor/none"},
		"a passphrase with a line break": {`agent: "vendor/agent", passphrase: "12345678\nx"`, "passphrase"},
		"a short passphrase":             {`agent: "vendor/agent", passphrase: "1234567"`, "passphrase"},
		"an MRPE command with a line break": {`agent: "vendor/agent", mrpe: [{name: "a", command: "/bin/x\ny"}]`,
			"command"},
		"an MRPE name with a line break": {`agent: "vendor/agent", mrpe: [{name: "a\nb", command: "/bin/x"}]`, "name"},
		"an MRPE line that is a comment": {`agent: "vendor/agent", mrpe: [{name: "#a", command: "/bin/x"}]`, "name"},
		"a plug-in outside its folder":   {`agent: "vendor/agent", plugins: [{name: "../x", content: ""}]`, "name"},
		"a plug-in without bytes": {`agent: "vendor/agent", only_from: "::1", plugins: [{name: "x"}]`,
			"not exactly one of content, source, program, directory, link and tree"},
		"an interval without a unit": {`agent: "vendor/agent", plugins: [{name: "x", content: "", interval: "300"}]`,
			"interval"},
		"an interval of none": {`agent: "vendor/agent", plugins: [{name: "x", content: "", interval: "0s"}]`,
			"interval"},
		"settings that it makes itself": {`agent: "vendor/agent", config: "mrpe.cfg": content: ""`, "mrpe.cfg"},
		"settings outside their folder": {`agent: "vendor/agent", config: "../passwd": content: ""`, "passwd"},
		"only_from that is a name":      {`agent: "vendor/agent", only_from: "monitoring.example"`, "only_from"},
		"only_from that is no address": {`agent: "vendor/agent", only_from: "1.2.3"`,
			"neither an address nor a network"},
		"a port that is none": {`agent: "vendor/agent", only_from: "::1", listen: "99999"`, "is not a port"},
		"a field that executables do not have": {`agent: "vendor/agent", plugins: [{name: "x", content: "", every: "5m"}]`,
			"every"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if ps := checked(t, f, "checkmk", c.value); len(ps) > 0 {
				err = ps
			} else {
				_, err = outputOf(t, f, "checkmk", c.value)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "1234567") {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestCheckmkWithItsControllerIsAsItsOwnPackageHadIt(t *testing.T) {
	out, err := checkmk(t, `agent: "vendor/agent", controller: "vendor/ctl", listen: "6557"
		only_from: "192.0.2.7 10.0.0.0/8"`)
	if err != nil {
		t.Fatal(err)
	}
	if ctl := fileOf(t, out, "/usr/bin/cmk-agent-ctl"); ctl.Repo != "vendor/ctl" || ctl.Mode != 0o755 {
		t.Errorf("%+v", ctl)
	}
	if got := string(fileOf(t, out, "/var/lib/cmk-agent/cmk-agent-ctl.toml").Content); !strings.HasSuffix(got,
		"\npull_port = 6557\nallowed_ip = [\"192.0.2.7\",\"10.0.0.0/8\"]\n") {
		t.Error(got)
	}
	// The agent answers the controller alone; that one opens the port.
	agent, ctl := out.Services[0], out.Services[1]
	if agent.Name != "checkmk" || !reflect.DeepEqual(agent.Listen, []string{"/run/check-mk-agent.socket"}) ||
		agent.ListenUser != "cmk-agent" || len(agent.Allow) != 0 ||
		!strings.Contains(agent.Exec, "MK_READ_REMOTE=true") {
		t.Errorf("%+v", agent)
	}
	if ctl.Name != "checkmk-controller" || ctl.Exec != "/usr/bin/cmk-agent-ctl daemon" || ctl.User != "cmk-agent" {
		t.Errorf("%+v", ctl)
	}
	if u := out.Users[0]; u.Name != "cmk-agent" || u.Home != "/var/lib/cmk-agent" || len(out.Warnings) != 0 {
		t.Errorf("%+v, warnings %q", u, out.Warnings)
	}
	if _, err := checkmk(t, `agent: "vendor/agent", controller: "vendor/ctl", listen: "127.0.0.1:6556"`); err == nil {
		t.Error("the controller listens on every address")
	}
}

func TestCheckmkWithoutItsControllerIsUnencryptedAndNamesWhoMayConnect(t *testing.T) {
	if _, err := checkmk(t, `agent: "vendor/agent"`); err == nil ||
		!strings.Contains(err.Error(), "needs the parameter only_from") {
		t.Error(err)
	}
	out, err := checkmk(t, `agent: "vendor/agent", only_from: "192.0.2.7"`)
	if err != nil || len(out.Warnings) != 1 || !strings.Contains(out.Warnings[0], "unencrypted") {
		t.Errorf("%v %+v", err, out)
	}
	out, err = checkmk(t, `agent: "vendor/agent", only_from: "192.0.2.7", passphrase: "12345678"`)
	if err != nil || len(out.Warnings) != 0 {
		t.Errorf("with a passphrase: %v %+v", err, out)
	}
}
