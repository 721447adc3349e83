package upgrade_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/reconcile/program"
	"bakehouse/reconcile/upgrade"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// alone keeps a test from the machine's cache and from this very checkout.
func alone(t *testing.T) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Chdir(t.TempDir())
}

func folder(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "bakehouse-agent-linux-amd64"), []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func repo(t *testing.T, cue string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fleet.cue"), []byte(cue), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestAnUpgradeKeepsThePinsItWasNotAskedFor(t *testing.T) {
	alone(t)
	dir := repo(t, "package acme\n")
	old := schema.DigestOf([]byte("old"))
	text := fmt.Sprintf("package acme\n\nprograms: \"linux/arm64\": {version: \"0.9\", sha256: %q}\nprograms: "+
		"\"linux/amd64\": {version: \"0.9\", sha256: %q}\n", old, old)
	path := filepath.Join(dir, upgrade.FileName)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	changes, err := upgrade.Upgrade(t.Context(), dir, program.Places{Dir: folder(t, "new")}, "1.0.0",
		[]schema.Platform{{OS: "linux", Arch: "amd64"}})
	if err != nil {
		t.Fatal(err)
	}
	sum := schema.DigestOf([]byte("new"))
	want := fmt.Sprintf("linux/amd64: 0.9 (%s) -> 1.0.0 (%s)", old.Short(), sum.Short())
	if len(changes) != 1 || changes[0].String() != want {
		t.Errorf("%v, want %q", changes, want)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = fmt.Sprintf("// The host programs that packages carry. Written by `bakehouse upgrade`.\npackage acme\n\n"+
		"programs: \"linux/amd64\": {\n\tversion: \"1.0.0\"\n\tsha256:  %q\n}\nprograms: \"linux/arm64\": {\n\tversion: "+
		"\"0.9\"\n\tsha256:  %q\n}\n", sum, old)
	if string(got) != text {
		t.Errorf("wrote:\n%s\nwant:\n%s", got, text)
	}
}

func TestAnUpgradeThatFailsWritesNothing(t *testing.T) {
	alone(t)
	for name, c := range map[string]struct {
		cue    string
		places program.Places
		hint   string
	}{
		"no fleet repo": {"", program.Places{Dir: folder(t, "x")}, "--repo"},
		"pins in fleet.cue": {"package acme\n\nprograms: {}\n", program.Places{Dir: folder(t, "x")},
			upgrade.FileName},
		"programs nowhere":                         {"package acme\n", program.Places{}, "--source"},
		"one of two platforms only":                {"package acme\n", program.Places{Dir: folder(t, "x")}, ""},
		"--source that is no checkout":             {"package acme\n", program.Places{Source: t.TempDir()}, "--source"},
		"fleet.cue that does not parse":            {"package acme\n{", program.Places{Dir: folder(t, "x")}, ""},
		"fleet.cue without a package, as cue eval": {"name: \"x\"\n", program.Places{Dir: folder(t, "x")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if c.cue != "" {
				dir = repo(t, c.cue)
			}
			_, err := upgrade.Upgrade(t.Context(), dir, c.places, "1.0.0", nil)
			if err == nil || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("%v, hint %q", err, fault.HintOf(err))
			}
			if _, err := os.Stat(filepath.Join(dir, upgrade.FileName)); !errors.Is(err, fs.ErrNotExist) {
				t.Error("it wrote the pins")
			}
		})
	}
}

// The pins are evaluated as everything else is: by a process that may die of them.
func TestPinsThatCannotBeReadAreAnErrorAtTheirLine(t *testing.T) {
	alone(t)
	for _, c := range []struct{ pins, want string }{
		{"package acme\nimport \"math/bits\"\nx: bits.Lsh(1, 1000000000000000)\n", "programs.cue:3:4: "},
		{"package acme\n\nprograms: \"linux/amd64\": version: 1\n", "programs.cue:3:35: "},
		{"package acme\n\nprograms: {\n", "programs.cue:3:13: "},
		{"package acme\n\nprograms: \"linux/amd64\": {version: \"1\", sha256: \"x\"}\n", "programs.cue:3:"},
	} {
		dir := repo(t, "package acme\n")
		path := filepath.Join(dir, upgrade.FileName)
		if err := os.WriteFile(path, []byte(c.pins), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := upgrade.Upgrade(t.Context(), dir, program.Places{Dir: folder(t, "x")}, "1.0.0", nil)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || fault.ExitCode(err) != fault.ExitError ||
			fault.HintOf(err) == "" {
			t.Errorf("%v, hint %q; want %s", err, fault.HintOf(err), c.want)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != c.pins {
			t.Errorf("it wrote %s", got)
		}
	}
}
