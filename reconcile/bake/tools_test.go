package bake_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// write puts a package where tools can read it.
func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	f := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(f, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func run(t testing.TB, argv ...string) string {
	t.Helper()
	cmd := installtest.Command(t, argv[0], argv[1:]...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", argv, err, &out, &errs)
	}
	return out.String()
}

func TestDpkgDebReadsAPackage(t *testing.T) {
	dpkgDeb := needs.Tool(t, "dpkg-deb")
	st, src := newMemory(), repo{}
	f := write(t, "p.deb", assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Deb)))
	if got, want := run(t, dpkgDeb, "--show", "--showformat=${Package} ${Version} ${Architecture}", f), "bakehouse-agent 0.1.0+"+someID+" amd64"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	var names []string
	for line := range strings.Lines(run(t, dpkgDeb, "--contents", f)) {
		fields := strings.Fields(line)
		if fields[1] != "root/root" {
			t.Errorf("owner of %s", line)
		}
		if !strings.HasSuffix(fields[5], "/") {
			names = append(names, fields[0]+" "+fields[5])
		}
	}
	// Shared files by plugin, the anchor root, the updater's settings, then own files, and all that is config at the end.
	want := []string{
		"-rwxr-xr-x ./usr/bin/node_exporter",
		"-rw-r--r-- ./usr/share/doc/node_exporter/README",
		"-rwxr-xr-x ./usr/bin/bakehouse-agent",
		"-rw-r--r-- ./etc/bakehouse/root.json",
		"-rw-r--r-- ./usr/share/man/man8/bakehouse-agent.8.gz",
		"-rw-r--r-- ./usr/share/doc/bakehouse-agent/LICENSES.gz",
		"-rw-r--r-- ./usr/share/doc/bakehouse-agent/changelog.gz",
		"-rw-r--r-- ./usr/share/doc/bakehouse-agent/copyright",
		"-rw-r--r-- ./usr/lib/systemd/system/bakehouse-agent.service",
		"-rw------- ./etc/bakehouse/agent.json",
		"-rw-r--r-- ./usr/lib/bakehouse/units",
		"-rw-r--r-- ./usr/lib/systemd/system/node_exporter.service",
		"-rw-r--r-- ./etc/bakehouse/health.json",
		"-rw-r----- ./etc/default/node_exporter",
	}
	if !slices.Equal(names, want) {
		t.Errorf("contents:\n%s", strings.Join(names, "\n"))
	}
}

func TestTarReadsAPackage(t *testing.T) {
	tar := needs.Tool(t, "tar")
	st, src := newMemory(), repo{}
	f := write(t, "p.tar.gz", assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Tgz)))
	dir := t.TempDir()
	run(t, tar, "--extract", "--gzip", "--no-same-owner", "--preserve-permissions", "--directory", dir, "--file", f)
	for _, file := range []string{"/usr/bin/bakehouse-agent", "/usr/bin/node_exporter"} {
		got, err := os.ReadFile(filepath.Join(dir, file))
		want := src[file]
		if want == nil {
			want = src["program"]
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d of %d bytes, %v", file, len(got), len(want), err)
		}
	}
}

// dpkgRoot is an empty system that dpkg can install into, with the command line to do it. Maintainer scripts run without
// a chroot, as there is no shell in it; they get its path in DPKG_ROOT.
func dpkgRoot(t *testing.T) (root string, dpkg []string) {
	t.Helper()
	needs.All(t, "installs by dpkg")
	program := needs.Tool(t, "dpkg")
	needs.Root(t, "installing by dpkg")
	root = t.TempDir()
	for _, d := range []string{"info", "updates", "triggers", "parts"} {
		if err := os.MkdirAll(filepath.Join(root, "var/lib/dpkg", d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"status", "available"} {
		if err := os.WriteFile(filepath.Join(root, "var/lib/dpkg", f), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, []string{program, "--root=" + root, "--force-script-chrootless", "--force-not-root", "--force-bad-path",
		"--force-unsafe-io", "--log=" + filepath.Join(root, "dpkg.log")}
}

func TestDpkgInstallsUpgradesAndPurgesAPackage(t *testing.T) {
	root, dpkg := dpkgRoot(t)
	arch := strings.TrimSpace(run(t, dpkg[0], "--print-architecture"))
	st, src := newMemory(), repo{}
	install := func(r *rules.Recipe) {
		t.Helper()
		r.Platform.Arch = map[string]string{"amd64": "amd64", "arm64": "arm64"}[arch]
		if r.Platform.Arch == "" {
			needs.Missing(t, "there is no host program for %s", arch)
		}
		f := write(t, "p.deb", assembled(t, st, baked(t, st, src, r, schema.Deb)))
		run(t, append(dpkg, "--install", f)...)
		for _, o := range r.Outputs {
			for _, w := range o.Files {
				content := w.Content
				switch {
				case w.Program:
					content = src["program"]
				case w.Repo != "":
					content = src[w.Repo]
				}
				got, err := os.ReadFile(filepath.Join(root, w.Path))
				if err != nil || !bytes.Equal(got, content) {
					t.Errorf("%s: %d of %d bytes, %v", w.Path, len(got), len(content), err)
				}
				if st, err := os.Stat(filepath.Join(root, w.Path)); err != nil || st.Mode() != w.Mode {
					t.Errorf("%s: mode %v, %v; want %v", w.Path, st.Mode(), err, w.Mode)
				}
			}
		}
		if got := run(t, append(dpkg, "--verify", "bakehouse-agent")...); got != "" {
			t.Errorf("dpkg --verify: %s", got)
		}
		query := []string{"dpkg-query", "--admindir=" + filepath.Join(root, "var/lib/dpkg"), "--show", "--showformat=${Status} ${Version}", "bakehouse-agent"}
		if got, want := run(t, query...), "install ok installed 0.1.0+"+string(r.ID); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	exists := func(p string, want bool) {
		t.Helper()
		if _, err := os.Lstat(filepath.Join(root, p)); (err == nil) != want {
			t.Errorf("%s: %v", p, err)
		}
	}
	const wants = "/etc/systemd/system/multi-user.target.wants/"
	_, err := exec.LookPath("systemctl")
	systemctl := err == nil

	install(example(src, "ffffffffffffffff", ":9100"))
	exists(wants+"node_exporter.service", systemctl)
	// A lower version string, other settings, and one plugin less: an upgrade all the same.
	next := example(src, "0000000000000000", ":9200")
	next.Outputs = next.Outputs[1:]
	install(next)
	exists("/etc/default/node_exporter", false)
	exists("/usr/lib/systemd/system/node_exporter.service", false)
	exists(wants+"node_exporter.service", false)
	exists(wants+"bakehouse-agent.service", systemctl)

	run(t, append(dpkg, "--purge", "bakehouse-agent")...)
	exists("/usr/bin/bakehouse-agent", false)
	exists(wants+"bakehouse-agent.service", false)
	exists(schema.ConfigFile("linux"), false)
	exists(schema.StateDir("linux"), false)
}

// systemd stands in for a running systemd: it runs a package's maintainer scripts with a systemctl that writes down how
// it is called.
type systemd struct{ dir string }

func (s systemd) install(t *testing.T, r *rules.Recipe, src repo) string {
	t.Helper()
	st := newMemory()
	deb := assembled(t, st, baked(t, st, src, r, schema.Deb))
	members := readAr(t, deb)
	for _, e := range readTar(t, members[2].data, true) {
		if e.Name == "."+schema.UnitsFile("linux") {
			s.write(t, "units", 0o644, string(e.data))
		}
	}
	return s.script(t, deb, "postinst", "configure")
}

func (s systemd) write(t *testing.T, name string, mode fs.FileMode, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func (s systemd) script(t *testing.T, deb []byte, step string, args ...string) string {
	t.Helper()
	text := ""
	for _, e := range readTar(t, readAr(t, deb)[1].data, false) {
		if e.Name == "./"+step {
			text = string(e.data)
		}
	}
	// The three paths that the scripts know, moved into the test's folder.
	text = strings.NewReplacer("/run/systemd/system", s.dir, schema.StateDir("linux"), filepath.Join(s.dir, "state"),
		schema.UnitsFile("linux"), filepath.Join(s.dir, "units")).Replace(text)
	s.write(t, step, 0o755, text)
	s.write(t, "systemctl", 0o755, "#!/bin/sh\necho \"$*\" >>"+s.dir+"/calls\nexit 1\n")
	s.write(t, "policy-rc.d", 0o755, "#!/bin/sh\nexit 104\n") // whatever this machine has
	s.write(t, "calls", 0o644, "")
	cmd := exec.Command(filepath.Join(s.dir, step), args...)
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "DPKG_ROOT=") }),
		"PATH="+s.dir+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", step, args, err, out)
	}
	calls, err := os.ReadFile(filepath.Join(s.dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(calls), "--quiet ", "")
}

func TestAnUpgradeRestartsOnlyTheServicesThatChanged(t *testing.T) {
	needs.Tool(t, "sh")
	s, src := systemd{t.TempDir()}, repo{}
	expect := func(got string, want ...string) {
		t.Helper()
		if lines := strings.Split(strings.TrimSpace(got), "\n"); !slices.Equal(lines, want) {
			t.Errorf("calls of systemctl:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
		}
	}
	// Each call fails, too: what systemd thinks of it never fails an installation.
	expect(s.install(t, example(src, someID, ":9100"), src), "daemon-reload",
		"--no-reload enable node_exporter.service", "--no-block restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block restart bakehouse-agent.service")
	expect(s.install(t, example(src, someID, ":9200"), src), "daemon-reload",
		"--no-reload enable node_exporter.service", "--no-block restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	// What an administrator stopped or disabled stays so; the updater has written down what that is.
	if err := os.MkdirAll(filepath.Join(s.dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.write(t, "state/stopped", 0o600, "bakehouse-agent.service disabled\nnode_exporter.service stopped\n")
	expect(s.install(t, example(src, someID, ":9300"), src), "daemon-reload",
		"--no-reload enable node_exporter.service", "--no-block start bakehouse-agent.service")
	if err := os.Remove(filepath.Join(s.dir, "state/stopped")); err != nil {
		t.Fatal(err)
	}
	off := example(src, someID, ":9200")
	off.Outputs[0].Services[0].Enable = false
	expect(s.install(t, off, src), "daemon-reload",
		"--no-reload disable node_exporter.service", "--no-block try-restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	gone := example(src, someID, ":9200")
	gone.Outputs = gone.Outputs[1:]
	expect(s.install(t, gone, src), "--no-block stop node_exporter.service", "daemon-reload",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	st := newMemory()
	deb := assembled(t, st, baked(t, st, src, gone, schema.Deb))
	expect(s.script(t, deb, "prerm", "upgrade", "2"), "")
	expect(s.script(t, deb, "prerm", "remove"), "--no-block stop bakehouse-agent.service", "--no-reload disable bakehouse-agent.service")
}

func TestThePluginsScriptsRunInOrderAndAFailureFailsTheInstallation(t *testing.T) {
	needs.Tool(t, "sh")
	s, src := systemd{t.TempDir()}, repo{}
	r := example(src, someID, ":9100")
	r.Outputs[0].Scripts = map[string]string{"postinst": "echo first >>" + s.dir + "/order; exit 0"}
	r.Outputs[1].Scripts = map[string]string{"postinst": "echo second $1 >>" + s.dir + "/order"}
	s.install(t, r, src)
	if got, err := os.ReadFile(filepath.Join(s.dir, "order")); err != nil || string(got) != "first\nsecond configure\n" {
		t.Errorf("%q, %v", got, err)
	}
	r.Outputs[1].Scripts["postinst"] = "false\necho not reached"
	st := newMemory()
	deb := assembled(t, st, baked(t, st, src, r, schema.Deb))
	var text string
	for _, e := range readTar(t, readAr(t, deb)[1].data, false) {
		if e.Name == "./postinst" {
			text = string(e.data)
		}
	}
	if out, err := exec.Command("sh", "-c", text, "postinst", "configure").CombinedOutput(); err == nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestTheUnitSaysWhatTheServiceSays(t *testing.T) {
	st, src := newMemory(), repo{}
	r := &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{{Plugin: "p", Services: []fleet.Service{{Name: "svc",
		Description: "100% sure", Exec: "/usr/bin/svc --flag $ARGS", EnvironmentFile: "/etc/default/svc", User: "nobody", Restart: "always"}}}}}
	for _, e := range readTar(t, assembled(t, st, baked(t, st, src, r, schema.Tgz)), true) {
		if e.Name != "./usr/lib/systemd/system/svc.service" {
			continue
		}
		for _, want := range []string{"Description=100%% sure", "ExecStart=/usr/bin/svc --flag $ARGS", "EnvironmentFile=/etc/default/svc", "User=nobody", "Restart=always", "WantedBy=multi-user.target"} {
			if !strings.Contains(string(e.data), want+"\n") {
				t.Errorf("no %s in\n%s", want, e.data)
			}
		}
		return
	}
	t.Error("there is no unit")
}

func TestARecipeThatMakesNoPackageSaysWhereItIsWrong(t *testing.T) {
	src := repo{}
	with := func(change func(r *rules.Recipe)) *rules.Recipe {
		r := example(src, someID, ":9100")
		change(r)
		return r
	}
	for name, c := range map[string]struct {
		r    *rules.Recipe
		want string
	}{
		"two plugins with one file": {with(func(r *rules.Recipe) {
			r.Outputs[0].Files = append(r.Outputs[0].Files, own("/usr/bin/bakehouse-agent", 0o755, ""))
		}),
			"plugins node_exporter and updater both have a file /usr/bin/bakehouse-agent"},
		"a plugin with a file that bake makes": {with(func(r *rules.Recipe) {
			r.Outputs[0].Files = append(r.Outputs[0].Files, own(schema.HealthFile("linux"), 0o644, ""))
		}),
			"both have a file " + schema.HealthFile("linux")},
		"a file where a directory is": {with(func(r *rules.Recipe) { r.Outputs[0].Files = append(r.Outputs[0].Files, own("/usr/bin", 0o755, "")) }), "/usr/bin is a file"},
		"a path that climbs":          {with(func(r *rules.Recipe) { r.Outputs[0].Files[0].Path = "/etc/../../x" }), "not an absolute, clean path"},
		"a path with a newline":       {with(func(r *rules.Recipe) { r.Outputs[0].Files[0].Path = "/etc/a\nb" }), "control character"},
		"a set-uid mode":              {with(func(r *rules.Recipe) { r.Outputs[0].Files[0].Mode |= fs.ModeSetuid }), "more than permissions"},
		"a unit with an injected line": {with(func(r *rules.Recipe) { r.Outputs[0].Services[0].User = "nobody\nExecStartPre=/bin/evil" }),
			"plugin node_exporter: service \"node_exporter\": control character"},
		"another anchor": {with(func(r *rules.Recipe) { r.Outputs[1].Files[1] = own(schema.AnchorFile("linux"), 0o644, "{}") }), "is not the anchor root"},
		"a version that dpkg cannot read": {with(func(r *rules.Recipe) {
			r.Outputs[1].Files[0] = own(schema.ConfigFile("linux"), 0o600,
				strings.Replace(settings, "0.1.0", "v1-2", 1))
		}), `version "v1-2"`},
		"a file that is not as long as it says":  {with(func(r *rules.Recipe) { r.Outputs[0].Files[1].Size-- }), "plugin node_exporter: file /usr/bin/node_exporter: has not the 99999 bytes"},
		"a platform that Debian does not have":   {with(func(r *rules.Recipe) { r.Platform.OS = "plan9" }), "deb is not made for plan9/amd64"},
		"a file that is not in the repo":         {with(func(r *rules.Recipe) { r.Outputs[0].Files[1].Repo = "nowhere" }), "file does not exist"},
		"a file whose bytes are not the pinned":  {with(func(r *rules.Recipe) { r.Outputs[1].Files[2].SHA256[0]++ }), "plugin updater: file /usr/bin/bakehouse-agent: has digest"},
		"inline content that has another digest": {with(func(r *rules.Recipe) { r.Outputs[0].Files[0].Content = []byte("x") }), "has digest"},
	} {
		t.Run(name, func(t *testing.T) {
			err := bakeError(t, newMemory(), src, c.r, schema.Deb)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), someID) {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
		})
	}
	if err := bakeError(t, newMemory(), src, with(func(*rules.Recipe) {}), "msi"); err == nil {
		t.Error("an unknown format was baked")
	}
	if err := fmt.Sprint(bakeError(t, newMemory(), src, with(func(*rules.Recipe) {}), schema.Deb)); err != "<nil>" {
		t.Errorf("the recipe without a fault: %s", err)
	}
}
