package services

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

var exporter = fleet.Service{Name: "exporter", Description: "Exporter & co", Exec: "/usr/local/bin/exporter --path ${DIR}/x $ARGS 'two words' 5%%",
	EnvironmentFile: "/etc/default/exporter", User: "nobody", Restart: "always", Enable: true}

func TestACommandLineMeansToShWhatItMeansToSystemd(t *testing.T) {
	for line, want := range map[string]string{
		"/bin/x  a\tb":           "x a b",
		"/bin/x $ARGS":           "x one two",
		"/bin/x ${ARGS}":         "x [one two]",
		"/bin/x a${ARGS}b":       "x [aone twob]",
		"/bin/x 'a b' \"c'd\"":   "x [a b] c'd",
		"/bin/x 100%% $$ARGS":    "x 100% $ARGS",
		"/bin/x a;b|c&d>e *?[x]": "x a;b|c&d>e *?[x]",
		"/bin/x ~ #no `date` !":  "x ~ #no `date` !",
		"/bin/x (a) {b,c}":       "x (a) {b,c}",
		"/bin/x \\a":             "", "/bin/x %i": "", "/bin/x '$ARGS'": "", "/bin/x a$ARGS": "", "/bin/x 'open": "", "-/bin/x": "", "": "",
	} {
		got, err := shellCommand(line)
		if want == "" {
			if err == nil {
				t.Errorf("%q became %q", line, got)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		c := exec.Command("/bin/sh", "-c", `show() { printf x; for w; do case "$w" in *" "*) printf ' [%s]' "$w" ;; *) printf ' %s' "$w" ;; esac; done; }; `+
			strings.Replace(got, "/bin/x", "show", 1))
		c.Env = []string{"ARGS=one two"}
		c.Dir = t.TempDir()
		if out, err := c.CombinedOutput(); err != nil || string(out) != want {
			t.Errorf("%q became %q, which runs %q, %v; want %q", line, got, out, err, want)
		}
	}
}

func TestManifestsAreWellFormedAndSayWhatTheServiceIs(t *testing.T) {
	for os, want := range map[string][]string{
		"darwin": {"<string>bakehouse.exporter</string>",
			"set -a; . /etc/default/exporter; set +a; set -f; exec /usr/local/bin/exporter",
			"<key>KeepAlive</key>\n\t<true/>",
			"<key>UserName</key>\n\t<string>nobody</string>"},
		"solaris": {`<service name="site/exporter"`,
			"set -a; . /etc/default/exporter; set +a; set -f; exec /usr/local/bin/exporter",
			`user="nobody"`, `value="child"`, "Exporter &amp; co", "5%%"},
	} {
		u, err := Service(os, "p", exporter)
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(u.Text))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v\n%s", os, err, u.Text)
			}
		}
		for _, w := range want {
			if !strings.Contains(u.Text, w) {
				t.Errorf("%s: no %q in\n%s", os, w, u.Text)
			}
		}
	}
}

func TestPlistsAreReadByAnotherReader(t *testing.T) {
	python := needs.Tool(t, "python3")
	listen := fleet.Service{Name: "door", Exec: "/usr/local/bin/door", Listen: []string{"6556", "127.0.0.1:80", "/var/run/door"}, Restart: "always", Enable: true}
	door, err := Service("darwin", "p", listen)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Interval("darwin", "p", fleet.Interval{Name: "again", Exec: "/usr/local/bin/again 'a<b'", Every: schema.Duration(90e9), Output: "/var/cache/p/o ut"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		u          Unit
		expression string
		want       string
	}{
		{door, "d['Sockets']['Listeners']", "[{'SockServiceName': '6556'}, {'SockNodeName': '127.0.0.1', 'SockServiceName': '80'}, {'SockPathName': '/var/run/door'}]"},
		{door, "d['inetdCompatibility']", "{'Wait': False}"},
		{again, "d['StartInterval'], d['RunAtLoad']", "(90, True)"},
		{again, "d['ProgramArguments'][2]", `umask 022; mkdir -p /var/cache/p && /usr/local/bin/again 'a<b' >'/var/cache/p/o ut.new' && mv -f '/var/cache/p/o ut.new' '/var/cache/p/o ut'`},
	} {
		cmd := exec.Command(python, "-c", "import plistlib, sys\nd = plistlib.loads(sys.stdin.buffer.read())\nprint(("+c.expression+"))")
		cmd.Stdin = strings.NewReader(c.u.Text)
		if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != c.want {
			t.Errorf("%s: %s, %v; want %s", c.expression, out, err, c.want)
		}
	}
}

func TestWhatASystemHasNoWordForIsAnErrorAndNotLeftOut(t *testing.T) {
	with := func(change func(*fleet.Service)) fleet.Service {
		s := exporter
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		os, want string
		s        fleet.Service
	}{
		"who may connect":     {"darwin", "allow", with(func(s *fleet.Service) { s.Allow = []string{"10.0.0.0/8"} })},
		"folders":             {"solaris", "directories", with(func(s *fleet.Service) { s.Directories.State = "x" })},
		"connections":         {"solaris", "listen", with(func(s *fleet.Service) { s.Listen = []string{"80"} })},
		"no restart":          {"solaris", `restart: "no"`, with(func(s *fleet.Service) { s.Restart = "no" })},
		"a specifier":         {"darwin", `"%i"`, with(func(s *fleet.Service) { s.Exec = "/bin/x %i" })},
		"a system of its own": {"aix", "aix", exporter},
	} {
		if u, err := Service(c.os, "p", c.s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %q", name, err, u.Text)
		}
	}
	for _, i := range []fleet.Interval{{Name: "i", Exec: "/bin/x", Timeout: 1e9}, {Name: "i", Exec: "/bin/x", Output: "/var/cache/x/y", User: "nobody"}} {
		if _, err := Interval("darwin", "p", i); err == nil {
			t.Errorf("%+v was taken", i)
		}
	}
	if _, err := Interval("solaris", "p", fleet.Interval{Name: "i", Exec: "/bin/x"}); err == nil {
		t.Error("an interval on Solaris was taken")
	}
}

// The managers' tools are stand-ins that write down how they are called.
func TestTheShellHasTheManagerTakeUpWhatChangedAndNothingElse(t *testing.T) {
	first := "same 1 enable\nother 1 enable\ngone 1 enable\nidle 1 disable\nx.bakehouse-agent 1 enable\n"
	second := "same 1 enable\nother 2 enable\nfresh 1 enable\nidle 1 disable\nx.bakehouse-agent 2 enable\n"
	for system, want := range map[string]string{
		"darwin": "bootout system/gone; print system/same; bootout system/other; enable system/other; bootstrap system /Library/LaunchDaemons/other.plist; " +
			"bootout system/fresh; enable system/fresh; bootstrap system /Library/LaunchDaemons/fresh.plist; disable system/idle; bootout system/idle; print system/x.bakehouse-agent; ",
		"solaris": "disable svc:/site/gone:default; delete -f svc:/site/gone; -H svc:/site/same:default; enable svc:/site/same:default; clear svc:/site/same:default; " +
			"import /lib/svc/manifest/site/other.xml; enable svc:/site/other:default; refresh svc:/site/other:default; restart svc:/site/other:default; clear svc:/site/other:default; " +
			"import /lib/svc/manifest/site/fresh.xml; enable svc:/site/fresh:default; refresh svc:/site/fresh:default; restart svc:/site/fresh:default; clear svc:/site/fresh:default; " +
			"import /lib/svc/manifest/site/idle.xml; disable svc:/site/idle:default; " +
			"-H svc:/site/x.bakehouse-agent:default; enable svc:/site/x.bakehouse-agent:default; clear svc:/site/x.bakehouse-agent:default; ",
	} {
		dir := t.TempDir()
		put := func(name, content string) string {
			p := filepath.Join(dir, name)
			if err := os.WriteFile(p, []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
			return p
		}
		for _, tool := range []string{"launchctl", "svcadm", "svccfg", "svcs"} {
			put(tool, "#!/bin/sh\nprintf '%s; ' \"$*\" >>"+dir+"/calls\n")
		}
		units := put("units", first)
		shell := strings.NewReplacer(schema.StateDir("linux"), dir+"/state", "/Library/LaunchDaemons", dir+"/daemons", launchdDir, dir+"/").Replace(Shell(system, units))
		for _, name := range []string{"same", "other", "gone", "fresh", "idle", "x.bakehouse-agent"} {
			put(name+".plist", name)
		}
		if err := os.Mkdir(dir+"/daemons", 0o755); err != nil {
			t.Fatal(err)
		}
		daemons := func() string {
			names, err := filepath.Glob(dir + "/daemons/*.plist")
			if err != nil {
				t.Fatal(err)
			}
			for i, name := range names {
				names[i] = strings.TrimSuffix(filepath.Base(name), ".plist")
			}
			return strings.Join(names, " ")
		}
		call := func(what string, env ...string) string {
			c := exec.Command("/bin/sh", "-c", "set -e\n"+shell+what)
			c.Env = append([]string{"PATH=" + dir + ":" + os.Getenv("PATH")}, env...)
			if out, err := c.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("%s: %v\n%s", system, err, out)
			}
			b, err := os.ReadFile(dir + "/calls")
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			os.Remove(dir + "/calls")
			return strings.ReplaceAll(string(b), dir+"/daemons", "/Library/LaunchDaemons")
		}
		if got := call("services", "DPKG_ROOT=/sandbox"); got != "" {
			t.Errorf("%s, in a sandbox: %s", system, got)
		}
		call("services")
		put("units", second)
		if got := call("services"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", system, got, want)
		}
		if got := daemons(); system == "darwin" && got != "fresh other same x.bakehouse-agent" {
			t.Errorf("launchd finds %s", got)
		}
		got := call("noservices")
		if left := daemons(); left != "" {
			t.Errorf("launchd still finds %s", left)
		}
		for _, name := range []string{"same", "other", "fresh", "idle", "x.bakehouse-agent"} {
			if !strings.Contains(got, name) {
				t.Errorf("%s: %s goes on after removal: %s", system, name, got)
			}
		}
		if b, err := os.ReadFile(dir + "/state/units"); err == nil {
			t.Errorf("%s: the record stays: %s", system, b)
		}
	}
}
