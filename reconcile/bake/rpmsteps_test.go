package bake_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// pack bakes a recipe to a file.
func (r *rpmRoot) pack(recipe *rules.Recipe, src repo) string {
	r.t.Helper()
	st := newMemory()
	return write(r.t, "p.rpm", assembled(r.t, st, baked(r.t, st, src, recipe, schema.Rpm)))
}

// lines is what scripts wrote to a file of the root since the last call.
func (r *rpmRoot) lines(name string) []string {
	r.t.Helper()
	b, err := os.ReadFile(filepath.Join(r.root, name))
	if err != nil {
		return nil
	}
	os.Remove(filepath.Join(r.root, name))
	return strings.Split(strings.TrimSpace(string(b)), "\n")
}

func TestRpmRunsEachStepOnceAndSaysWhatHappens(t *testing.T) {
	root := newRpmRoot(t)
	notes := func(what string, want ...string) {
		t.Helper()
		if got := root.lines("notes"); !slices.Equal(got, want) {
			t.Errorf("%s ran\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	rpm := func(id string, changes ...func(*rules.Recipe)) string {
		r := noting(id)
		for _, change := range changes {
			change(r)
		}
		return root.pack(r, repo{})
	}
	first, second := rpm("1111111111111111"), rpm("2222222222222222")
	install := []string{"one pretrans install none", "one preinst install none", "one postinst install there", "two postinst install there", "one posttrans install there"}
	upgrade := []string{"one pretrans upgrade there", "one preinst upgrade there", "one postinst upgrade there", "two postinst upgrade there",
		"one prerm upgrade there", "two prerm upgrade there", "one postrm upgrade there", "one posttrans upgrade there"}
	update := []string{"--upgrade", "--oldpackage", "--replacepkgs"}

	root.quiet(append(update, first)...)
	notes("an installation", install...)
	root.quiet(append(update, second)...)
	notes("an upgrade", upgrade...)
	root.quiet(append(update, first)...)
	notes("a downgrade", upgrade...)
	root.quiet(append(update, first)...)
	notes("an installation of the same", upgrade...)
	root.quiet("--erase", "bakehouse-agent")
	notes("a removal", "one prerm remove there", "two prerm remove there", "one postrm remove none")
	root.quiet(append(update, first)...)
	notes("an installation after a removal", install...)

	failing := func(step string) func(r *rules.Recipe) {
		return func(r *rules.Recipe) { r.Outputs[0].Scripts[step] = "echo failing >>/notes; false\n" }
	}
	if out, err := root.do(append(update, rpm("3333333333333333", failing("preinst")))...); err == nil || !strings.Contains(out, "scriptlet failed") {
		t.Errorf("a failing preinst: %v, %s", err, out)
	}
	notes("an upgrade that fails", upgrade[0], "failing")
	root.holds(noting("1111111111111111"), repo{})
	// Behind the files, rpm only says so; the updater looks for that.
	if out, err := root.do(append(update, rpm("3333333333333333", failing("postinst")))...); err != nil || !strings.Contains(out, "scriptlet failed") {
		t.Errorf("a failing postinst: %v, %s", err, out)
	}
	if got := root.lines("notes"); !slices.Contains(got, "failing") {
		t.Errorf("%q", got)
	}
}

func TestAnRpmsUnitsAreEnabledRestartedAndStopped(t *testing.T) {
	root, src := newRpmRoot(t), repo{}
	root.write("bin/systemctl", 0o755, "#!/bin/sh\n[ \"$1\" = --quiet ] && shift\necho \"$*\" >>/calls\nexit 1\n")
	if err := os.MkdirAll(filepath.Join(root.root, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect := func(want ...string) {
		t.Helper()
		if got := root.lines("calls"); !slices.Equal(got, want) {
			t.Errorf("systemctl was called with\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	update := func(r *rules.Recipe) {
		t.Helper()
		root.quiet("--upgrade", "--oldpackage", "--replacepkgs", root.pack(r, src))
	}
	update(example(src, "1111111111111111", ":9100"))
	expect("daemon-reload", "--no-reload enable node_exporter.service", "--no-block restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block restart bakehouse-agent.service")
	update(example(src, "2222222222222222", ":9200"))
	expect("daemon-reload", "--no-reload enable node_exporter.service", "--no-block restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	off := example(src, "3333333333333333", ":9200")
	off.Outputs[0].Services[0].Enable = false
	update(off)
	expect("daemon-reload", "--no-reload disable node_exporter.service", "--no-block try-restart node_exporter.service",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	gone := example(src, "4444444444444444", ":9200")
	gone.Outputs = gone.Outputs[1:]
	update(gone)
	expect("--no-block stop node_exporter.service", "daemon-reload",
		"--no-reload enable bakehouse-agent.service", "--no-block start bakehouse-agent.service")
	root.quiet("--erase", "bakehouse-agent")
	expect("--no-block stop bakehouse-agent.service", "--no-reload disable bakehouse-agent.service", "daemon-reload")
	update(gone)
	expect("daemon-reload", "--no-reload enable bakehouse-agent.service", "--no-block restart bakehouse-agent.service")

	// What hides a unit is said before and after.
	if err := os.MkdirAll(filepath.Join(root.root, "etc/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	root.write("etc/systemd/system/bakehouse-agent.service", 0o644, "")
	out, err := root.do("--upgrade", "--oldpackage", "--replacepkgs", root.pack(gone, src))
	if err != nil || strings.Count(out, "warning: /etc/systemd/system/bakehouse-agent.service is in force") != 2 {
		t.Errorf("%v: %s", err, out)
	}
	root.lines("calls")

	// And an administrator's policy-rc.d decides what is started.
	if err := os.MkdirAll(filepath.Join(root.root, "usr/sbin"), 0o755); err != nil {
		t.Fatal(err)
	}
	root.write("usr/sbin/policy-rc.d", 0o755, "#!/bin/sh\necho \"$*\" >>/asked\nexit 101\n")
	last := root.pack(example(src, "5555555555555555", ":9300"), src)
	if out, err := root.do("--upgrade", "--oldpackage", "--replacepkgs", last); err != nil ||
		!strings.Contains(out, "policy-rc.d forbids to restart node_exporter.service") {
		t.Errorf("%v: %s", err, out)
	}
	expect("daemon-reload", "--no-reload enable node_exporter.service", "--no-reload enable bakehouse-agent.service")
	if got := root.lines("asked"); !slices.Equal(got, []string{"node_exporter restart", "bakehouse-agent restart"}) {
		t.Errorf("it was asked %q", got)
	}
}

func TestRpmMakesUsersBeforeTheirFiles(t *testing.T) {
	root := newRpmRoot(t)
	root.write("etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\n")
	root.write("etc/group", 0o644, "root:x:0:\n")
	root.write("bin/systemd-sysusers", 0o755, `#!/bin/sh
while read -r kind name rest; do
	case $kind in u) echo "$name:x:701:702::/:/bin/sh" >>/etc/passwd && echo "$name:x:702:" >>/etc/group ;; esac
done
`)
	secret := own("/etc/m/secret", 0o640, "s")
	secret.Owner, secret.Group = "root", "monitor"
	data := own("/opt/m/data", 0o600, "d")
	data.Owner, data.Group = "monitor", "monitor"
	root.quiet("--upgrade", root.pack(&rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{
		{Plugin: "m", Files: []fleet.File{secret, data}, Users: []fleet.User{{Name: "monitor", Home: "/"}}}}}, repo{}))
	for name, want := range map[string]struct {
		uid, gid uint32
		mode     fs.FileMode
	}{"etc/m/secret": {0, 702, 0o640}, "opt/m/data": {701, 702, 0o600}} {
		st, err := os.Stat(filepath.Join(root.root, name))
		if err != nil {
			t.Fatal(err)
		}
		if s := st.Sys().(*syscall.Stat_t); s.Uid != want.uid || s.Gid != want.gid || st.Mode() != want.mode {
			t.Errorf("%s is %d:%d, %v", name, s.Uid, s.Gid, st.Mode())
		}
	}
}

func TestAnRpmSaysWhatItNeedsAndReplaces(t *testing.T) {
	root := newRpmRoot(t)
	f := root.pack(peopled(), repo{})
	for query, want := range map[string]string{
		"[%{REQUIRENAME} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]": "/bin/sh  \nbash  \nlibc6 >= 2.31\nrpmlib(CompressedFileNames) <= 3.0.4-1\n" +
			"rpmlib(FileDigests) <= 4.6.0-1\nrpmlib(PayloadFilesHavePrefix) <= 4.0-1\n",
		"[%{OBSOLETENAME} %{OBSOLETEFLAGS:depflags} %{OBSOLETEVERSION}\n]": "old < 2\n",
		"[%{PROVIDENAME} %{PROVIDEFLAGS:depflags} %{PROVIDEVERSION}\n]":    "bakehouse-agent = 0.0.0-" + someID + "\n",
		"[%{CONFLICTNAME}\n]": "",
	} {
		got := run(t, root.rpm[0], "--query", "--package", "--queryformat", query, f)
		var lines []string
		for line := range strings.Lines(got) {
			if !slices.Contains(lines, line) { // the shell is needed by every script
				lines = append(lines, line)
			}
		}
		if got := strings.Join(lines, ""); got != want {
			t.Errorf("%s:\n%swant\n%s", query, got, want)
		}
	}
	if out, err := root.do("--upgrade", f); err == nil || !strings.Contains(out, "libc6 >= 2.31 is needed by bakehouse-agent") {
		t.Errorf("installed without what it needs: %v, %s", err, out)
	}
}

// Names that a shell, a format or a list could take for something else, a file of no bytes, and many files.
func TestRpmInstallsFilesOfAnyName(t *testing.T) {
	root, src := newRpmRoot(t), repo{}
	o := &fleet.Output{Plugin: "p"}
	names := []string{"with space", "-dash", "100%", "%name", "star*", "[bracket]", "{a,b}", "quote's", `double"`, "$HOME", "~", "ß", "日本", "a;b", "#", "@", "x-y", "x", "x.d/z",
		"TRAILER!!!", strings.Repeat("n", 246)}
	for i, name := range names {
		mode := fs.FileMode([]int{0o644, 0o600, 0o777, 0o400, 0o755}[i%5])
		o.Files = append(o.Files, own("/etc/p/"+name, mode, strings.Repeat("own", i)), src.file("/opt/p dir/"+name, mode, noise(uint64(i), i*100)))
	}
	for i := range 300 {
		o.Files = append(o.Files, own("/opt/many/"+strings.Repeat("d/", i%7)+strconv.Itoa(i)+strings.Repeat("x", i%200), 0o644, "y"))
	}
	r := &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{o}}
	long := &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{{Plugin: "p", Files: []fleet.File{own("/etc/"+strings.Repeat("n", 247), 0o644, "")}}}}
	if err := bakeError(t, newMemory(), src, long, schema.Rpm); err == nil || !strings.Contains(err.Error(), "246 bytes") {
		t.Errorf("a name that rpm cannot unpack: %v", err)
	}
	f := root.pack(r, src)
	root.quiet("--install", f)
	root.holds(r, src)
	root.quiet("--verify", "bakehouse-agent")
	root.quiet("--erase", "bakehouse-agent")
	root.exists("/opt", true)
	root.exists("/opt/many", false)
	root.exists("/opt/p dir", false)
}
