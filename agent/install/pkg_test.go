package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// solarisTools puts stand-ins for Solaris' package tools in front of the PATH. Each writes down its arguments and does
// what is given for it, in shell. There is no real one here to ask.
func solarisTools(t *testing.T, s *System, does map[string]string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pkgadd", "pkgparam", "pkgchk"} {
		text := fmt.Sprintf("#!/bin/sh\necho \"%s $*\" >>%s/calls\n%s\n", name, dir, does[name])
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() string {
		b, _ := os.ReadFile(dir + "/calls")
		os.Remove(dir + "/calls")
		return strings.ReplaceAll(string(b), s.Root, "ROOT")
	}
}

func TestADatastreamIsInstalledUnattendedAndThenLookedAfter(t *testing.T) {
	s := On(t.TempDir(), nil)
	p := stage(t, schema.Pkg, []byte("# PaCkAgE DaTaStReAm\n"))
	calls := solarisTools(t, s, map[string]string{"pkgadd": `grep -qx instance=overwrite "$5" && grep -qx conflict=quit "$5"`, "pkgparam": "echo 1"})
	if err := s.installPkg(t.Context(), p); err != nil {
		t.Fatalf("%v: %s", err, fault.HintOf(err))
	}
	want := fmt.Sprintf("pkgadd -R ROOT -n -a %[1]s.admin -d %[1]s acme-agent\npkgparam -R ROOT acme-agent "+
		"VERSION\npkgchk -R ROOT -c -n acme-agent\n", p.File)
	if got := calls(); got != want {
		t.Errorf("called\n%swant\n%s", got, want)
	}
	if _, err := os.Stat(p.File + ".admin"); err == nil {
		t.Error("the admin file stays")
	}
}

func TestADatastreamThatFailsSaysWhyAndCountsAsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		does map[string]string
		want string // "" if it is taken for installed
	}{
		"a script fails": {map[string]string{"pkgadd": "echo 'pkgadd: ERROR: postinstall script did not " +
			"complete successfully'; exit 1"}, "postinstall script did not complete"},
		"a reboot is wished for":   {map[string]string{"pkgadd": "exit 10", "pkgparam": "echo 1"}, ""},
		"a warning":                {map[string]string{"pkgadd": "exit 2", "pkgparam": "echo 1"}, ""},
		"another version is there": {map[string]string{"pkgparam": "echo 2"}, `its state is now "2"`},
		"a file is not as it was": {map[string]string{"pkgparam": "echo 1",
			"pkgchk": "echo 'ERROR: /usr/bin/x'; echo '    file size <1> expected <2> actual'; exit 1"},
			"/usr/bin/x differs from the package"},
		"a setting that was changed": {map[string]string{"pkgparam": "echo 1", "pkgchk": "echo 'ERROR: /etc/x'; exit 1"},
			""},
		"a setting below the sandbox": {map[string]string{"pkgparam": "echo 1", "pkgchk": `echo "ERROR: $2/etc/x"; exit 1`},
			""},
	} {
		t.Run(name, func(t *testing.T) {
			s := On(t.TempDir(), nil)
			solarisTools(t, s, c.does)
			err := s.installPkg(t.Context(), stage(t, schema.Pkg, []byte("x")))
			if c.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) || !Touched(err) {
				t.Errorf("%v, touched %v; want %s", err, Touched(err), c.want)
			}
		})
	}
}

func TestAPackageIsNotPutOverAnotherOnesFiles(t *testing.T) {
	const of = "echo 'Pathname: /usr/bin/bakehouse-agent'; echo 'Referenced by the following packages:'; echo '	%s'; " +
		"echo 'Current status: installed'"
	for name, c := range map[string]struct {
		owner  string
		format schema.Format
		want   string
	}{
		"a pkg over itself":      {"acme-agent", schema.Pkg, ""},
		"a pkg over another one": {"other", schema.Pkg, "came from the package other"},
		"a tgz over a pkg":       {"acme-agent", schema.Tgz, "came from the package acme-agent"},
	} {
		t.Run(name, func(t *testing.T) {
			s := On(t.TempDir(), nil)
			solarisTools(t, s, map[string]string{"pkgchk": fmt.Sprintf(of, c.owner)})
			err := s.checkPkgOwner(t.Context(), stage(t, c.format, nil))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}
