package bake_test

import (
	"bytes"
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
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

// rpmRoot is a small system that rpm installs into.
type rpmRoot struct {
	t    *testing.T
	root string
	rpm  []string // rpm's command line
}

func newRpmRoot(t *testing.T) *rpmRoot {
	t.Helper()
	const database = "--dbpath=/var/lib/rpm"
	root := installtest.RpmRoot(t, []string{database}, "cat", "mkdir", "mv", "rm")
	return &rpmRoot{t, root, []string{needs.Tool(t, "rpm"), "--root=" + root, database}}
}

func (r *rpmRoot) write(name string, mode fs.FileMode, content string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.root, name), []byte(content), mode); err != nil {
		r.t.Fatal(err)
	}
}

// do runs rpm and returns what it said on both streams, without Debian's advice to use another program.
func (r *rpmRoot) do(args ...string) (string, error) {
	c := installtest.Command(r.t, r.rpm[0], append(r.rpm[1:len(r.rpm):len(r.rpm)], args...)...)
	b, err := c.CombinedOutput()
	var out strings.Builder
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "rpm: RPM should not be used directly") && !strings.HasPrefix(line, "rpm: However assuming") {
			out.WriteString(line)
		}
	}
	return out.String(), err
}

// quiet runs rpm, which has nothing to say.
func (r *rpmRoot) quiet(args ...string) {
	r.t.Helper()
	if out, err := r.do(args...); err != nil || out != "" {
		r.t.Fatalf("rpm %q: %v\n%s", args, err, out)
	}
}

// holds checks that every file of a recipe is there with its mode and content.
func (r *rpmRoot) holds(want *rules.Recipe, src repo) {
	r.t.Helper()
	for _, o := range want.Outputs {
		for _, w := range o.Files {
			content := w.Content
			switch {
			case w.Program:
				content = src["program"]
			case w.Repo != "":
				content = src[w.Repo]
			}
			name := filepath.Join(r.root, w.Path)
			if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, content) {
				r.t.Errorf("%s: %d of %d bytes, %v", w.Path, len(got), len(content), err)
			}
			if st, err := os.Lstat(name); err != nil || st.Mode() != w.Mode {
				r.t.Errorf("%s: mode %v, %v; want %v", w.Path, st.Mode(), err, w.Mode)
			}
		}
	}
}

func (r *rpmRoot) exists(p string, want bool) {
	r.t.Helper()
	if _, err := os.Lstat(filepath.Join(r.root, p)); (err == nil) != want {
		r.t.Errorf("%s: %v", p, err)
	}
}

func TestRpmInstallsUpgradesDowngradesAndErasesAPackage(t *testing.T) {
	root := newRpmRoot(t)
	st, src := newMemory(), repo{}
	pack := func(r *rules.Recipe) string {
		return write(t, "p.rpm", assembled(t, st, baked(t, st, src, r, schema.Rpm)))
	}
	check := func(r *rules.Recipe) {
		t.Helper()
		root.holds(r, src)
		root.quiet("--verify", "bakehouse-agent")
		if got, err := root.do("--query", "bakehouse-agent"); err != nil || got != "bakehouse-agent-0.1.0-"+string(r.ID)+".x86_64\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
	first, second := example(src, "ffffffffffffffff", ":9100"), example(src, "0000000000000000", ":9200")
	second.Outputs = second.Outputs[1:]
	one, two := pack(first), pack(second)
	root.quiet("--install", one)
	check(first)
	// Other settings, and one plugin less. To rpm the release is a newer one: a digit beats a letter.
	root.quiet("--upgrade", two)
	check(second)
	root.exists("/etc/default/node_exporter", false)
	root.exists("/usr/share/doc/node_exporter", false)
	root.exists("/usr/lib/systemd/system/node_exporter.service", false)
	if out, err := root.do("--upgrade", one); err == nil {
		t.Errorf("nothing held a downgrade up, so this shows nothing: %s", out)
	}
	// As the updater does it.
	for _, p := range []string{one, one, two, one} {
		root.quiet("--upgrade", "--oldpackage", "--replacepkgs", p)
		check(map[string]*rules.Recipe{one: first, two: second}[p])
	}
	root.write(schema.ConfigFile("linux"), 0o600, "{}")
	if out, err := root.do("--verify", "bakehouse-agent"); err == nil ||
		!strings.Contains(out, schema.ConfigFile("linux")) {
		t.Errorf("--verify of a changed file: %v, %q", err, out)
	}
	root.quiet("--erase", "bakehouse-agent")
	for _, p := range []string{"/usr/bin/bakehouse-agent", "/etc/bakehouse", "/usr/lib/bakehouse"} {
		root.exists(p, false)
	}
	// Directories of the system stay, and so does what the updater knows: rpm has no purge.
	for _, p := range []string{"/etc/default", "/usr/lib/systemd/system", schema.StateDir("linux")} {
		root.exists(p, true)
	}
}

func TestRpmTakesAPackageNextToAnotherWhoseDirectoriesHaveOtherModes(t *testing.T) {
	root := newRpmRoot(t)
	st, src := newMemory(), repo{}
	top := t.TempDir()
	spec := write(t, "filesystem.spec", []byte("Name: filesystem\nVersion: 1\nRelease: 1\nSummary: x\nLicense: none\n%description\nx\n%install\n"+
		"mkdir -p %{buildroot}/usr/bin %{buildroot}/etc/default %{buildroot}/usr/lib/systemd/system %{buildroot}/usr/share/doc\n"+
		"%files\n%dir %attr(555,root,root) /usr/bin\n%dir %attr(750,root,root) /etc/default\n%dir %attr(555,root,root) /usr/lib/systemd\n"+
		"%dir %attr(555,root,root) /usr/lib/systemd/system\n%dir %attr(555,root,root) /usr/share/doc\n"))
	run(t, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, spec)
	made, _ := filepath.Glob(filepath.Join(top, "RPMS/*/*.rpm"))
	root.quiet(append([]string{"--install"}, made...)...)
	r := example(src, someID, ":9100")
	root.quiet("--install", write(t, "p.rpm", assembled(t, st, baked(t, st, src, r, schema.Rpm))))
	root.holds(r, src)
	if st, err := os.Stat(filepath.Join(root.root, "usr/bin")); err != nil || st.Mode().Perm() != 0o555 {
		t.Errorf("/usr/bin: %v, %v", st.Mode(), err)
	}
}

func TestReadersOfRpmReadAPackage(t *testing.T) {
	st, src := newMemory(), repo{}
	f := write(t, "p.rpm", assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Rpm)))
	t.Run("rpm", func(t *testing.T) {
		rpm := needs.Tool(t, "rpm")
		if got := run(t, rpm, "--checksig", "--verbose", f); strings.Count(got, ": OK\n") != 2 || strings.Count(got, "\n") != 3 {
			t.Errorf("rpm --checksig says\n%s", got)
		}
		got := run(t, rpm, "--query", "--package", "--queryformat", "%{NVRA} %{OS} %{BUILDHOST} %{BUILDTIME} %{PAYLOADFORMAT} %{PAYLOADCOMPRESSOR} %{FILEDIGESTALGO}", f)
		if want := "bakehouse-agent-0.1.0-" + someID + ".x86_64 linux localhost 946684800 cpio gzip 8"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
	// The anchor root and documentation, shared files by plugin, the updater's settings, then own files, and all that is config at the end.
	want := []string{
		"./etc/bakehouse", "./usr/lib/bakehouse", "./usr/share/doc/bakehouse-agent", "./usr/share/doc/node_exporter",
		"./etc/bakehouse/root.json",
		"./usr/share/man/man8/bakehouse-agent.8.gz",
		"./usr/share/doc/bakehouse-agent/LICENSES.gz",
		"./usr/share/doc/bakehouse-agent/changelog.gz",
		"./usr/share/doc/bakehouse-agent/copyright",
		"./usr/bin/node_exporter",
		"./usr/share/doc/node_exporter/README",
		"./usr/bin/bakehouse-agent",
		"./usr/lib/systemd/system/bakehouse-agent.service",
		"./etc/bakehouse/agent.json",
		"./usr/lib/bakehouse/units",
		"./usr/lib/systemd/system/node_exporter.service",
		"./etc/bakehouse/health.json",
		"./etc/default/node_exporter",
	}
	t.Run("rpm, of documentation and config", func(t *testing.T) {
		rpm := needs.Tool(t, "rpm")
		if got := run(t, rpm, "--query", "--package", "--docfiles", f); !slices.Equal(strings.Fields(got), []string{
			"/usr/share/doc/bakehouse-agent/LICENSES.gz", "/usr/share/doc/bakehouse-agent/changelog.gz", "/usr/share/doc/bakehouse-agent/copyright",
			"/usr/share/doc/node_exporter/README", "/usr/share/man/man8/bakehouse-agent.8.gz"}) {
			t.Errorf("documentation: %s", got)
		}
		if got := run(t, rpm, "--query", "--package", "--configfiles", f); got != "" {
			t.Errorf("config: %s", got)
		}
	})
	t.Run("bsdtar", func(t *testing.T) {
		if got := strings.Fields(run(t, needs.Tool(t, "bsdtar"), "-tf", f)); !slices.Equal(got, want) {
			t.Errorf("%q", got)
		}
	})
	t.Run("rpm2cpio and cpio", func(t *testing.T) {
		payload := run(t, needs.Tool(t, "rpm2cpio"), f)
		c := exec.Command(needs.Tool(t, "cpio"), "--list", "--quiet")
		c.Stdin = strings.NewReader(payload)
		out, err := c.CombinedOutput()
		for i := range want {
			want[i] = strings.TrimPrefix(want[i], "./")
		}
		if got := strings.Fields(strings.ReplaceAll(string(out), "./", "")); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestRpmRefusesAPackageWithAnAlteredByte(t *testing.T) {
	rpm := needs.Tool(t, "rpm")
	st, src := newMemory(), repo{}
	whole := assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Rpm))
	for name, at := range map[string]int{"header": 1000, "payload": len(whole) / 2, "end of the payload": len(whole) - 1} {
		bad := bytes.Clone(whole)
		bad[at] ^= 1
		if out, err := installtest.Command(t, rpm, "--checksig", write(t, "p.rpm", bad)).CombinedOutput(); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
}

func TestRpmlintFindsNothingThatIsNotMeant(t *testing.T) {
	rpmlint := needs.Tool(t, "rpmlint")
	meant := map[string]string{
		"no-binary":                       "the programs of this test are noise",
		"no-signature":                    "what vouches for a package is the fleet's signature and TUF metadata",
		"invalid-license":                 "Apache-2.0 is how SPDX writes it; this rpmlint knows older names",
		"non-conffile-in-etc":             "what is baked belongs to the repo, and is replaced with the package",
		"non-readable":                    "the settings may hold a proxy's password",
		"no-manual-page-for-binary":       "which files there are is the plugins' matter",
		"dangerous-command-in-%preun":     "it removes the record of units, below the updater's own directory",
		"dangerous-command-in-%posttrans": "as above, and a unit's link",
		"manpage-not-compressed":          "it is, with gzip, as other distributions want it",
		"only-non-binary-in-usr-lib":      "units of systemd belong there on every platform",
	}
	st, src := newMemory(), repo{}
	out := baked(t, st, src, example(src, someID, ":9100"), schema.Rpm)
	f := filepath.Join(t.TempDir(), "bakehouse-agent-"+out.Manifest.Version+".x86_64.rpm")
	if err := os.WriteFile(f, assembled(t, st, out), 0o600); err != nil {
		t.Fatal(err)
	}
	found, _ := installtest.Command(t, rpmlint, f).Output() // its exit code says whether there is anything at all
	if !bytes.Contains(found, []byte("1 packages and 0 specfiles checked")) {
		t.Fatalf("rpmlint says %s", found)
	}
	for line := range strings.Lines(string(found)) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "bakehouse-agent.x86_64:" && meant[f[2]] == "" {
			t.Error(line)
		}
	}
}

func TestAPlainSegmentThatIsAlteredInTheStoreIsRefused(t *testing.T) {
	st, src := newMemory(), repo{}
	r := example(src, someID, ":9100")
	out := baked(t, st, src, r, schema.Rpm)
	plain := 0
	for _, ref := range out.NewSegments {
		key := schema.SegmentKey(ref.Digest)
		if was := st.objects[key]; ref.Digest == ref.Payload {
			plain++
			st.objects[key] = append(bytes.Clone(was[:len(was)-1]), 'x')
			if err := bakeError(t, st, src, r, schema.Rpm); !fault.IsRefusal(err) || !strings.Contains(fault.HintOf(err), "fsck") {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			st.objects[key] = was
		}
	}
	if plain != 2 {
		t.Errorf("%d plain segments", plain)
	}
	n := len(st.objects)
	if again := baked(t, st, src, r, schema.Rpm); len(again.NewSegments) != 0 || len(st.objects) != n || again.Digest != out.Digest {
		t.Errorf("baked again: new segments %v", again.NewSegments)
	}
}

// Whoever wants to can sign with rpm's own tool: the header is one region, and the signature header takes one more entry.
func TestRpmsignCanSignAPackage(t *testing.T) {
	sign, g, root := needs.Tool(t, "rpmsign"), newGnupg(t, "rsa2048"), newRpmRoot(t)
	st, src := newMemory(), repo{}
	f := write(t, "p.rpm", assembled(t, st, baked(t, st, src, example(src, someID, ":9100"), schema.Rpm)))
	run(t, sign, "--define", "__gpg "+needs.Tool(t, "gpg"), "--define", "_gpg_name test@example.org", "--define", "_gpg_path "+os.Getenv("GNUPGHOME"), "--addsign", f)
	root.trusts(g)
	if out, err := root.do("--checksig", "--verbose", f); err != nil || strings.Count(out, ": OK\n") != 3 || !strings.Contains(out, "RSA/") {
		t.Errorf("rpm --checksig: %v\n%s", err, out)
	}
}

// trusts imports a key.
func (r *rpmRoot) trusts(g *gnupg) {
	r.t.Helper()
	b, err := os.ReadFile(g.public)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("key.asc", 0o644, string(b))
	r.quiet("--import", filepath.Join(r.root, "key.asc"))
}
