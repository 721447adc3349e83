package install

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/install/installtest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// rpmSystem is a sandbox with a shell, which rpm's scripts need.
func rpmSystem(t *testing.T) *System {
	t.Helper()
	return On(installtest.RpmRoot(t, nil, "cat", "rm", "kill"), nil)
}

// buildRpm builds a package with rpmbuild. Scripts are by section, such as "%pre".
func buildRpm(t *testing.T, name, version, tags string, files map[string]string, scripts map[string]string) Package {
	t.Helper()
	var spec strings.Builder
	fmt.Fprintf(&spec, "Name: %s\nVersion: %s\nRelease: 1\nSummary: test\nLicense: none\nBuildArch: "+
		"noarch\n%s%%description\ntest\n%%install\n", name, version, tags)
	for name, text := range files {
		fmt.Fprintf(&spec, "mkdir -p %%{buildroot}%s\ncat >%%{buildroot}%s <<'END'\n%s\nEND\n", filepath.Dir(name), name,
			text)
	}
	for section, text := range scripts {
		fmt.Fprintf(&spec, "%s\n%s\n", section, text)
	}
	spec.WriteString("%files\n")
	for name := range files {
		spec.WriteString(name + "\n")
	}
	b, err := os.ReadFile(installtest.RpmBuild(t, spec.String()))
	if err != nil {
		t.Fatal(err)
	}
	p := stage(t, schema.Rpm, b)
	p.Name, p.Version = name, version+"-1"
	return p
}

// hasRpm checks that exactly p is installed, as its files are.
func (s *System) hasRpm(t *testing.T, p Package, files map[string]string) {
	t.Helper()
	if out, err := s.rpm(t.Context(), "--query", p.Name); strings.TrimSpace(string(out)) != p.Name+"-"+p.Version+
		".noarch" {
		t.Errorf("rpm has %q, %v", out, err)
	}
	for name, want := range files {
		if b, err := os.ReadFile(s.Path(name)); err != nil || string(b) != want+"\n" {
			t.Errorf("%s is %q, %v, want %q", name, b, err, want)
		}
	}
	if out, err := s.rpm(t.Context(), "--verify", p.Name); err != nil {
		t.Errorf("rpm --verify: %v, %s", err, out)
	}
}

func TestAnRpmIsInstalledUpgradedAndDowngradedByRpmInASandbox(t *testing.T) {
	t.Parallel()
	s := rpmSystem(t)
	one, two := map[string]string{"/etc/acme": "one", "/usr/lib/acme/old": "x"}, map[string]string{"/etc/acme": "two"}
	p1, p2 := buildRpm(t, "acme-agent", "1", "", one, nil), buildRpm(t, "acme-agent", "2", "", two, nil)
	for _, step := range []struct {
		p    Package
		want map[string]string
	}{{p1, one}, {p2, two}, {p1, one}, {p1, one}} {
		if _, err := s.Install(t.Context(), step.p); err != nil {
			t.Fatalf("%v: %s", err, fault.HintOf(err))
		}
		s.hasRpm(t, step.p, step.want)
	}
}

func TestAnRpmThatFailsSaysWhyInOneLineAndThePreviousOneMendsIt(t *testing.T) {
	t.Parallel()
	s := rpmSystem(t)
	one := map[string]string{"/etc/acme": "one", "/usr/lib/acme/data": "one"}
	two := map[string]string{"/etc/acme": "two", "/usr/lib/acme/data": "two"}
	good := buildRpm(t, "acme-agent", "1", "", one, nil)
	for name, c := range map[string]struct {
		tags, section, script, want string
		touched                     bool
	}{
		"a script before the files": {"", "%pre", "exit 3", "%prein(acme-agent-2-1.noarch) scriptlet failed, exit status 3",
			true},
		// rpm itself is content with these.
		"a script behind the files": {"", "%post", "exit 3",
			"%post(acme-agent-2-1.noarch) scriptlet failed, exit status 3", true},
		"a script at the very end": {"", "%posttrans", "exit 3",
			"%posttrans(acme-agent-2-1.noarch) scriptlet failed, exit status 3", true},
		"a file that is gone": {"", "%post", "rm /usr/lib/acme/data",
			"/usr/lib/acme/data differs from the package", true},
		"a file that changed": {"", "%post", "echo >>/usr/lib/acme/data",
			"/usr/lib/acme/data differs from the package", true},
		"a package that is not there":   {"Requires: nowhere\n", "", "", "nowhere is needed by acme-agent-2-1.noarch", false},
		"a conflict with what is there": {"Conflicts: base\n", "", "", "base conflicts with acme-agent-2-1.noarch", false},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := s.Install(t.Context(), good); err != nil {
				t.Fatalf("%v: %s", err, fault.HintOf(err))
			}
			bad := buildRpm(t, "acme-agent", "2", c.tags, two, map[string]string{c.section: c.script})
			_, err := s.Install(t.Context(), bad)
			if err == nil || Touched(err) != c.touched {
				t.Fatalf("error %v, touched: %v", err, Touched(err))
			}
			if msg := err.Error(); !strings.Contains(msg, c.want) || strings.Contains(msg, "\n") || fault.HintOf(err) == "" {
				t.Errorf("error %q, hint %q, want %q", msg, fault.HintOf(err), c.want)
			}
			if !c.touched {
				s.hasRpm(t, good, one)
			}
			if _, err := s.Install(t.Context(), good); err != nil {
				t.Fatalf("%v: %s", err, fault.HintOf(err))
			}
			s.hasRpm(t, good, one)
		})
	}
}

func TestAChangedFileBelowEtcIsNoReasonToGoBack(t *testing.T) {
	t.Parallel()
	s := rpmSystem(t)
	p := buildRpm(t, "acme-agent", "1", "", map[string]string{"/etc/acme": "one", "/usr/lib/acme": "x"},
		map[string]string{"%post": "echo more >>/etc/acme; /bin/busybox chmod 600 /usr/lib/acme"})
	if _, err := s.Install(t.Context(), p); err != nil {
		t.Fatalf("%v: %s", err, fault.HintOf(err))
	}
	if out, err := s.rpm(t.Context(), "--verify", "acme-agent"); err == nil || strings.Count(string(out), "\n") != 2 {
		t.Errorf("nothing was changed, so this shows nothing: %s", out)
	}
}

// Whenever rpm is killed, installing the new package again brings it, and installing the old one brings that back.
func TestAnRpmRunThatIsKilledConverges(t *testing.T) {
	t.Parallel()
	one, two := map[string]string{"/etc/acme": "one", "/usr/lib/acme/old": "one"},
		map[string]string{"/etc/acme": "two", "/usr/lib/acme/new": "two"}
	kill := map[string]string{}
	for _, section := range []string{"%pretrans", "%pre", "%post", "%preun", "%postun", "%posttrans"} {
		kill[section] = fmt.Sprintf(`if [ "$(cat /kill 2>/dev/null)" = "%%%s" ]; then rm /kill; kill -9 $PPID; exit 1; fi`,
			section)
	}
	p1, p2 := buildRpm(t, "acme-agent", "1", "", one, kill), buildRpm(t, "acme-agent", "2", "", two, kill)
	s := rpmSystem(t)
	for section := range kill {
		for name, next := range map[string]struct {
			p    Package
			want map[string]string
			gone string
		}{"forward": {p2, two, "/usr/lib/acme/old"}, "back": {p1, one, "/usr/lib/acme/new"}} {
			t.Run(section[1:]+" "+name, func(t *testing.T) {
				if _, err := s.Install(t.Context(), p1); err != nil {
					t.Fatalf("%v: %s", err, fault.HintOf(err))
				}
				s.hasRpm(t, p1, one)
				if err := os.WriteFile(s.Path("kill"), []byte(section), 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := s.Install(t.Context(), p2); err == nil || !Touched(err) {
					t.Fatalf("error %v", err)
				}
				if _, err := os.Stat(s.Path("kill")); err == nil {
					t.Fatal("the script was not reached")
				}
				if _, err := s.Install(t.Context(), next.p); err != nil {
					t.Fatalf("%v: %s", err, fault.HintOf(err))
				}
				s.hasRpm(t, next.p, next.want)
				if _, err := os.Stat(s.Path(next.gone)); err == nil {
					t.Errorf("%s of the other package is still there", next.gone)
				}
			})
		}
	}
}

func TestAHeldRpmLockIsWaitedForAndNamed(t *testing.T) {
	t.Parallel()
	s := rpmSystem(t)
	db, err := s.rpm(t.Context(), "--eval", "%_dbpath")
	if err != nil {
		t.Fatal(err)
	}
	lock := s.Path(filepath.Join(strings.TrimSpace(string(db)), ".rpm.lock"))
	if _, err := os.Stat(lock); err != nil {
		t.Fatal(err)
	}
	p := buildRpm(t, "acme-agent", "1", "", map[string]string{"/etc/acme": "one"}, nil)
	_, release := holdFile(t, lock)
	err = s.installRpm(t.Context(), p, time.Millisecond)
	if err == nil || Touched(err) || !strings.Contains(err.Error(),
		"rpm is locked by another program, after waiting for 1ms") || fault.HintOf(err) == "" {
		t.Errorf("error %v, touched: %v", err, Touched(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.installRpm(ctx, p, time.Hour); err != context.Canceled {
		t.Errorf("cancelled before anything was run: %v", err)
	}
	got := make(chan error)
	go func() {
		_, err := s.Install(t.Context(), p)
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Errorf("after the other program ended: %v: %s", err, fault.HintOf(err))
	}
	s.hasRpm(t, p, nil)
}

func TestNoPackageManagerWritesOverWhatAnotherInstalled(t *testing.T) {
	t.Parallel()
	s := rpmSystem(t)
	files := map[string]string{program: "x"}
	asRpm, asDeb := buildRpm(t, "acme-agent", "1", "", files, nil), deb(t, "1", files, nil)
	for _, order := range [][]Package{{asRpm, asDeb}, {asDeb, asRpm}} {
		s := s
		if order[0].Format == schema.Deb {
			s = rpmSystem(t)
		}
		if _, err := s.Install(t.Context(), order[0]); err != nil {
			t.Fatalf("%v: %s", err, fault.HintOf(err))
		}
		_, err := s.Install(t.Context(), order[1])
		if err == nil || Touched(err) || !strings.Contains(err.Error(), "came from a "+string(order[0].Format)) ||
			fault.HintOf(err) == "" {
			t.Errorf("%s over %s: %v", order[1].Format, order[0].Format, err)
		}
	}
}

func TestRpmsReasonIsFoundInItsOutput(t *testing.T) {
	for out, want := range map[string]string{
		"error: Failed dependencies:\n\tnowhere is needed by x-1-1.noarch\n": "Failed dependencies: nowhere is needed by " +
			"x-1-1.noarch",
		"warning: x.rpm: Header V4 RSA/SHA256 Signature, key ID 1: NOKEY\nerror: %prein(x-1-1.noarch) scriptlet failed, " +
			"exit status 3\n" +
			"error: x-1-1.noarch: install failed\n": "%prein(x-1-1.noarch) scriptlet failed, exit status 3",
		"warning: %post(x-1-1.noarch) scriptlet failed, exit status 1\n":                                          "%post(x-1-1.noarch) scriptlet failed, exit status 1",
		"\tfile /usr/bin/y from install of x-1-1 conflicts with file from package z-1-1\n":                        "file /usr/bin/y from install of x-1-1 conflicts with file from package z-1-1",
		"error: unpacking of archive failed on file /usr/bin/y;1: cpio: write failed - No space left on device\n": "unpacking of archive failed on file /usr/bin/y;1: cpio: write failed - No space left on device",
		"nothing that is known\n": "nothing that is known",
		"":                        "",
	} {
		if got := rpmReason([]byte(out)); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
}

func TestAVerifyLineSaysWhetherContentDiffers(t *testing.T) {
	lines := map[string]bool{
		"missing     /usr/bin/x": true, "S.5....T.    /usr/bin/x": true, "..5......  c /usr/bin/x": true,
		".M.......    /usr/bin/x": false, ".....UG..    /usr/bin/x": false, ".......T.    /usr/bin/x": false,
		"S.5....T.    /etc/x": false,
		"missing   c /etc/x":  false, "": false, "Unsatisfied dependencies for x-1-1.noarch:": false,
	}
	for line, want := range lines {
		if got := rpmDiffers(strings.Fields(line)); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
