package bake_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// noting is a recipe of two plugins whose scripts note in a file of the root when they run and what for.
func noting(id string) *rules.Recipe {
	scripts := func(plugin string, steps []string) map[string]string {
		out := map[string]string{}
		for _, step := range steps {
			out[step] = `[ -f "$DPKG_ROOT/etc/` + plugin + `" ] && files=there || files=none
echo "` + plugin + " " + step + ` $BAKEHOUSE_ACTION $files" >>"$DPKG_ROOT/notes"
cat # nothing
exit 0`
		}
		return out
	}
	return &rules.Recipe{ID: schema.RecipeID(id), Platform: schema.Platform{OS: "linux", Arch: runtime.GOARCH}, Outputs: []*fleet.Output{
		{Plugin: "one", Files: []fleet.File{own("/etc/one", 0o644, id)}, Scripts: scripts("one", fleet.Steps)},
		{Plugin: "two", Files: []fleet.File{own("/etc/two", 0o644, id)}, Scripts: scripts("two", []string{"postinst", "prerm"})},
	}}
}

func TestDpkgRunsEachStepOnceAndSaysWhatHappens(t *testing.T) {
	root, dpkg := dpkgRoot(t)
	do := func(args ...string) error {
		t.Helper()
		out, err := exec.Command(dpkg[0], append(slices.Clone(dpkg[1:]), args...)...).CombinedOutput()
		t.Logf("dpkg %v: %v\n%s", args, err, out)
		return err
	}
	notes := func(what string, want ...string) {
		t.Helper()
		b, _ := os.ReadFile(filepath.Join(root, "notes"))
		os.Remove(filepath.Join(root, "notes"))
		if got := strings.Split(strings.TrimSpace(string(b)), "\n"); !slices.Equal(got, want) {
			t.Errorf("%s ran\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	deb := func(r *rules.Recipe) string {
		st := newMemory()
		return write(t, "p.deb", assembled(t, st, baked(t, st, repo{}, r, schema.Deb)))
	}
	ok := func(args ...string) {
		t.Helper()
		if err := do(args...); err != nil {
			t.Fatal(err)
		}
	}
	first, second := deb(noting("1111111111111111")), deb(noting("2222222222222222"))
	install := []string{"one pretrans install none", "one preinst install none", "one postinst install there", "two postinst install there", "one posttrans install there"}
	upgrade := []string{"one prerm upgrade there", "two prerm upgrade there", "one pretrans upgrade there", "one preinst upgrade there", "one postrm upgrade there",
		"one postinst upgrade there", "two postinst upgrade there", "one posttrans upgrade there"}

	ok("--install", first)
	notes("an installation", install...)
	ok("--install", second)
	notes("an upgrade", upgrade...)
	ok("--install", second)
	notes("an installation of the same", upgrade...)
	ok("--remove", "bakehouse-agent")
	notes("a removal", "one prerm remove there", "two prerm remove there", "one postrm remove none")
	ok("--install", first)
	notes("an installation after a removal", install...)

	// What fails and is mended by going back, as the updater does.
	broken := noting("3333333333333333")
	broken.Outputs[0].Scripts["postinst"] = "echo broken postinst $BAKEHOUSE_ACTION >>\"$DPKG_ROOT/notes\"\nfalse\n"
	if err := do("--install", deb(broken)); err == nil {
		t.Error("a script that fails does not fail the installation")
	}
	notes("an upgrade that fails", append(slices.Clone(upgrade[:5]), "broken postinst upgrade")...)
	ok("--install", first)
	notes("going back", upgrade...)
	ok("--purge", "bakehouse-agent")
	notes("purging", "one prerm remove there", "two prerm remove there", "one postrm remove none")

	// A first installation that fails is still one when it is tried again.
	broken.Outputs[0].Scripts["postinst"] = "[ -f \"$DPKG_ROOT/mended\" ]"
	if err := do("--install", deb(broken)); err == nil {
		t.Error("a script that fails does not fail the installation")
	}
	if err := os.WriteFile(filepath.Join(root, "mended"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	notes("a first installation that fails", install[:2]...)
	ok("--configure", "--pending")
	notes("its second try", install[3:]...)
}

// A distribution's package of Debian 12 has its unit in /lib, which is a link, and ours is in /usr/lib: dpkg sees two
// files, and whichever package went last took the other's unit away.
func TestWhatAnotherPackageHasUnderTheOtherNameOfItsFolderIsNotOverwritten(t *testing.T) {
	root, dpkg := dpkgRoot(t)
	do := func(args ...string) (string, error) {
		out, err := exec.Command(dpkg[0], append(slices.Clone(dpkg[1:]), args...)...).CombinedOutput()
		return string(out), err
	}
	const unit = "lib/systemd/system/vendor.service"
	vendor := func(name string) string {
		dir := t.TempDir()
		for f, text := range map[string]string{unit: "[Service]\nExecStart=/bin/true\n", "DEBIAN/control": "Package: " +
			name + "\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.com>\nDescription: x\n"} {
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(f)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		deb := filepath.Join(t.TempDir(), "vendor.deb")
		run(t, needs.Tool(t, "dpkg-deb"), "--root-owner-group", "--build", dir, deb)
		return deb
	}
	if err := os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("usr/lib", filepath.Join(root, "lib")); err != nil {
		t.Fatal(err)
	}
	ours := func(r fleet.Relations) string {
		st := newMemory()
		return write(t, "p.deb", assembled(t, st, baked(t, st, repo{}, &rules.Recipe{ID: someID,
			Platform: schema.Platform{OS: "linux", Arch: runtime.GOARCH}, Outputs: []*fleet.Output{{Plugin: "p",
				Services: []fleet.Service{{Name: "vendor", Exec: "/bin/x"}}, Relations: r}}}, schema.Deb)))
	}
	content := func() string {
		b, _ := os.ReadFile(filepath.Join(root, "usr", unit))
		return string(b)
	}
	if out, err := do("--install", vendor("vendor")); err != nil {
		t.Fatal(out)
	}
	before := content()
	out, err := do("--install", ours(fleet.Relations{}))
	if err == nil || !strings.Contains(out, "vendor: /"+unit) || content() != before {
		t.Errorf("%v: %s\n%s", err, out, content())
	}
	if out, _ := do("--status", "bakehouse-agent"); strings.Contains(out, "install ok installed") {
		t.Errorf("it is installed: %s", out)
	}
	// Nor is it where the plugin says that it replaces the other package: dpkg would remove what is ours then.
	named := []fleet.Relation{{Name: "vendor"}}
	other := fleet.RelationSet{Conflicts: named, Replaces: named}
	if out, err := do("--install", "--auto-deconfigure", ours(fleet.Relations{Deb: other})); err == nil ||
		content() != before || !strings.Contains(out, "remove that package first") {
		t.Errorf("%v: %s\n%s", err, out, content())
	}
	if out, err := do("--remove", "vendor"); err != nil {
		t.Fatal(out)
	}
	if out, err := do("--install", ours(fleet.Relations{Deb: other})); err != nil {
		t.Fatal(out)
	}
	if !strings.Contains(content(), "/bin/x") {
		t.Errorf("the unit of the package is not there:\n%s", content())
	}
	// An upgrade of itself is none of that, and a unit that the administrator has is said before and after.
	if err := os.MkdirAll(filepath.Join(root, "etc/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/systemd/system/vendor.service"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = do("--install", ours(fleet.Relations{}))
	if err != nil || strings.Count(out, "warning: /etc/systemd/system/vendor.service is in force") != 2 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAPackageWithoutScriptsSharesThemWithAllOthers(t *testing.T) {
	st, src := newMemory(), repo{}
	deb := assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Deb))
	for _, e := range readTar(t, readAr(t, deb)[1].data, false) {
		if strings.Contains(string(e.data), fleet.ActionVariable) || e.Name == "./preinst" &&
			strings.Contains(string(e.data), "node_exporter") {
			t.Errorf("%s:\n%s", e.Name, e.data)
		}
	}
}

// peopled is a recipe with users, files of theirs, an interval and a listener.
func peopled() *rules.Recipe {
	secret := own("/etc/m/secret", 0o640, "s")
	secret.Owner, secret.Group = "root", "monitor"
	return &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{
		{Plugin: "m", Files: []fleet.File{secret},
			Users:  []fleet.User{{Name: "monitor", Description: "Monitoring agent (of ours)", Home: "/var/lib/m", Groups: []string{"adm"}}, {Name: "other", Home: "/", Shell: "/bin/sh"}},
			Groups: []string{"readers"},
			Services: []fleet.Service{{Name: "door", Exec: "/usr/bin/m $ARGS", EnvironmentFile: "/etc/default/m", User: "monitor", Restart: "always", Enable: true,
				Listen: []string{"6556", "[::1]:6557"}, Allow: []string{"10.0.0.0/8", "::1/128"}}},
			Intervals: []fleet.Interval{{Name: "slow", Description: "Slow", Exec: "/usr/bin/slow --n=$N", Every: schema.Duration(15 * time.Minute),
				Timeout: schema.Duration(time.Minute), User: "other", Output: "/var/cache/m/slow", Enable: true}},
			Relations: fleet.Relations{All: fleet.RelationSet{Depends: []fleet.Relation{{Name: "bash"}, {Name: "libc6", Op: ">=", Version: "2.31"}}, Replaces: []fleet.Relation{{Name: "old", Op: "<", Version: "2"}}},
				Deb: fleet.RelationSet{Depends: []fleet.Relation{{Name: "exim4", Or: []fleet.Relation{{Name: "mta", Op: ">", Version: "1"}}}}, Conflicts: []fleet.Relation{{Name: "old"}}},
				RPM: fleet.RelationSet{Depends: []fleet.Relation{{Name: "/bin/sh"}}}}},
		{Plugin: "n", Users: []fleet.User{{Name: "other", Home: "/", Shell: "/bin/sh"}},
			Relations: fleet.Relations{All: fleet.RelationSet{Depends: []fleet.Relation{{Name: "bash"}}}}}}}
}

func TestADebHasTheUsersRelationsAndUnitsOfItsPlugins(t *testing.T) {
	st := newMemory()
	members := readAr(t, assembled(t, st, baked(t, st, repo{}, peopled(), schema.Deb)))
	files := map[string]string{}
	for _, e := range readTar(t, members[1].data, false) {
		files[e.Name] = string(e.data)
	}
	for _, e := range readTar(t, members[2].data, true) {
		files[e.Name] = string(e.data)
		if e.Name == "./etc/m/secret" && (e.Uname != "root" || e.Gname != "monitor" || e.Mode != 0o640) {
			t.Errorf("%s is %s:%s, mode %o", e.Name, e.Uname, e.Gname, e.Mode)
		}
	}
	units := "./usr/lib/systemd/system/"
	for name, want := range map[string]string{
		"./control": "Depends: bash, exim4 | mta (>> 1), libc6 (>= 2.31)\nConflicts: old\nReplaces: old (<< 2)\nDescription:",
		"./usr/lib/sysusers.d/bakehouse-agent.conf": "g readers -\nu monitor - \"Monitoring agent (of ours)\" /var/lib/m /usr/sbin/nologin\nu other - \"\" / /bin/sh\nm monitor adm\n",
		"." + schema.UnitsFile("linux"):             "door.socket ",
		units + "door.socket":                       "[Socket]\nListenStream=6556\nListenStream=[::1]:6557\nAccept=yes\nIPAddressDeny=any\nIPAddressAllow=10.0.0.0/8 ::1/128\n\n[Install]\nWantedBy=sockets.target\n",
		units + "door@.service":                     "[Service]\nEnvironmentFile=/etc/default/m\nExecStart=/usr/bin/m $ARGS\nUser=monitor\nStandardInput=socket\n",
		units + "slow.timer":                        "[Timer]\nOnActiveSec=0\nOnUnitActiveSec=900s\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
		units + "slow.service":                      "Type=oneshot\nCacheDirectory=m\nExecStart=/bin/sh -c '",
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s:\n%s\nlacks\n%s", name, files[name], want)
		}
	}
	if list := files["."+schema.UnitsFile("linux")]; strings.Count(list, "\n") != 2 || !strings.Contains(list, "\nslow.timer ") {
		t.Errorf("what is enabled:\n%s", list)
	}
	analyze := needs.Tool(t, "systemd-analyze")
	if os.Geteuid() == 0 {
		needs.All(t, "leaves systemd's time stamp in /run")
	}
	dir := t.TempDir()
	args := []string{analyze, "verify", "--man=no"}
	for name, text := range files {
		if rest, ok := strings.CutPrefix(name, units); ok && rest != "" {
			// What is to be executed is not on this machine; all else is checked.
			text = strings.NewReplacer("/usr/bin/m ", "/bin/true ", "/usr/bin/slow ", "/bin/true ").Replace(text)
			if err := os.WriteFile(filepath.Join(dir, rest), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, filepath.Join(dir, rest))
		}
	}
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil || strings.Contains(string(out), dir) {
		t.Errorf("systemd-analyze: %v\n%s", err, out)
	}
}

// The script of users runs in a root that has only what it needs, with systemd-sysusers and without.
func TestUsersAreMadeOnceByWhateverTheHostHas(t *testing.T) {
	needs.Root(t, "making users")
	st := newMemory()
	var preinst string
	for _, e := range readTar(t, readAr(t, assembled(t, st, baked(t, st, repo{}, peopled(), schema.Deb)))[1].data, false) {
		if e.Name == "./preinst" {
			preinst = string(e.data)
		}
	}
	for name, hide := range map[string]string{"by systemd-sysusers": "useradd", "by useradd": "systemd-sysusers"} {
		t.Run(name, func(t *testing.T) {
			needs.Tool(t, map[string]string{"useradd": "systemd-sysusers", "systemd-sysusers": "useradd"}[hide])
			root, bin := t.TempDir(), t.TempDir()
			for f, text := range map[string]string{"passwd": "root:x:0:0:root:/root:/bin/sh\n", "group": "root:x:0:\nreaders:x:777:\n", "shadow": "root:*:1::::::\n", "gshadow": "root:*::\n"} {
				if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, "etc", f), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, program := range []string{"systemd-sysusers", "useradd", "groupadd", "usermod", "grep", "getent",
				"cat", "sed", "xargs", "dpkg-query"} {
				if p, err := exec.LookPath(program); err == nil && program != hide {
					if err := os.Symlink(p, filepath.Join(bin, program)); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 2 {
				cmd := exec.Command("/bin/sh", "-c", preinst, "preinst", "install")
				cmd.Env = []string{"PATH=" + bin, "DPKG_ROOT=" + root}
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			passwd, _ := os.ReadFile(filepath.Join(root, "etc/passwd"))
			group, _ := os.ReadFile(filepath.Join(root, "etc/group"))
			for text, wants := range map[string][]string{string(passwd): {"\nmonitor:x:", ":Monitoring agent (of ours):/var/lib/m:/usr/sbin/nologin\n", "\nother:x:", ":/:/bin/sh\n"},
				string(group): {"\nmonitor:x:", "readers:x:777:", "\nadm:x:"}} {
				for _, want := range wants {
					if strings.Count(text, want) != 1 {
						t.Errorf("%q is there %d times:\n%s", want, strings.Count(text, want), text)
					}
				}
			}
			if i := strings.Index(string(group), "\nadm:x:"); i < 0 || !strings.Contains(strings.SplitN(string(group)[i+1:], "\n", 2)[0], ":monitor") {
				t.Errorf("monitor is not in adm:\n%s", group)
			}
		})
	}
}

func TestATgzCarriesWhatTheUpdaterRuns(t *testing.T) {
	needs.Root(t, "giving files away")
	st, dir := newMemory(), t.TempDir()
	r := peopled()
	r.Outputs[0].Files[0].Path = "/etc/m/it's $HOME"
	r.Outputs[0].Files[0].Owner, r.Outputs[0].Files[0].Group = "daemon", "" // whom every Linux has
	r.Outputs[0].Scripts = map[string]string{"preinst": "echo preinst $BAKEHOUSE_ACTION\nexit 0", "posttrans": "echo posttrans $BAKEHOUSE_ACTION"}
	r.Outputs[1].Scripts = map[string]string{"preinst": "echo second"}
	for _, e := range readTar(t, assembled(t, st, baked(t, st, repo{}, r, schema.Tgz)), true) {
		if name := filepath.Join(dir, e.Name); strings.HasSuffix(e.Name, "/") {
			if err := os.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(name, e.data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	do := func(step string) string {
		t.Helper()
		cmd := exec.Command("/bin/sh", filepath.Join(dir, schema.ScriptsFile("linux")), step, dir)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "BAKEHOUSE_ACTION=upgrade"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", step, err, out)
		}
		return string(out)
	}
	do("owners")
	if got := run(t, "stat", "--format=%U:%G", filepath.Join(dir, "etc/m/it's $HOME")); got != "daemon:root\n" {
		t.Errorf("the file is %s's", got)
	}
	if got := do("preinst") + do("postinst") + do("posttrans"); got != "preinst upgrade\nsecond\nposttrans upgrade\n" {
		t.Errorf("the scripts say %q", got)
	}
	src := repo{}
	for _, e := range readTar(t, assembled(t, st, baked(t, st, src, example(src, someID, ":1"), schema.Tgz)), true) {
		if e.Name == "."+schema.ScriptsFile("linux") {
			t.Errorf("a package without scripts has\n%s", e.data)
		}
	}
}
