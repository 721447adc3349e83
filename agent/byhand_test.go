package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"bakehouse/agent/install"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// unpack is `tar -xzf` of a package in the host's root.
func (h *host) unpack(p *trusttest.Package) {
	h.t.Helper()
	other := h.t.TempDir()
	sys := *h.system()
	sys.Root = other
	m := p.Manifest
	if _, err := sys.Install(h.t.Context(), install.Package{File: file(h.t, p.Bytes), SHA256: m.SHA256, Size: m.Size,
		Name: m.Name, Version: m.Version, Recipe: m.Recipe, Format: m.Format}); err != nil {
		h.t.Fatal(err)
	}
	files, err := sys.Current()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(other, f))
		if err == nil {
			err = os.MkdirAll(filepath.Dir(h.files.Path(f)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(h.files.Path(f), b, 0o755)
		}
		if err != nil {
			h.t.Fatal(err)
		}
	}
}

func TestAHostThatWasUnpackedByHandIsTakenOverByItsFirstUpdate(t *testing.T) {
	f := testfleet.New(t)
	f.Add("web01")
	h := newHost(t, f)
	h.unpack(version(f, "by hand"))
	// The package says who is believed: no anchor, key or server is given.
	if _, err := h.Register(t.Context(), RegisterOptions{Host: "web01", User: testfleet.User,
		Password: func() (string, error) { return testfleet.Password, nil }}); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "one"))
	if r := h.update(); r.Code != outcome.CodeInstalled {
		t.Fatalf("update: %s", r)
	}
	h.runs("one")
	if fi, err := os.Lstat(h.files.Path("/usr/bin/agent")); err != nil || fi.Mode().Type() != fs.ModeSymlink {
		t.Errorf("the program is %v, %v, not a link", fi, err)
	}

	r, err := h.Rollback(t.Context(), "")
	if err != nil || r.State != schema.StateHeld || r.Code != outcome.CodeRolledBack || r.Package != nil {
		t.Fatalf("rollback ended with %v: %s", err, r)
	}
	h.runs("by hand")
	if r := h.update(); r.Code != outcome.CodeRolledBack || r.State != schema.StateHeld {
		t.Errorf("the release that was rolled back: %s", r)
	}
	h.runs("by hand")
	f.Give("web01", version(f, "two"))
	h.update()
	h.runs("two")
}

func TestAHostThatWasUnpackedByHandKeepsThatIfItsFirstUpdateIsUnhealthy(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	h.unpack(version(f, "by hand"))
	sick := spec("sick")
	sick.Own["/usr/bin/agent"] = "#!/bin/sh\nexit 1\n"
	sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(1)}}
	f.Give("web01", f.Pack(sick))
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnhealthy {
		t.Fatalf("update ended with %v: %s", err, r)
	}
	h.runs("by hand")
	if fi, err := os.Lstat(h.files.Path("/usr/bin/agent")); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("the program is %v, %v, not the file that was unpacked", fi, err)
	}
}

// A merge that changes a package and another that changes it back: the digest is the installed one, its number is not.
func TestANewReleaseOfWhatIsInstalledGivesItsNumberWithoutAnInstallation(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	one := version(f, "one")
	f.Give("web01", one)
	h.update()
	was, err := os.Readlink(h.files.Path(schema.VersionDir + "/current"))
	if err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "two"))
	f.Give("web01", one)

	r := h.update()
	if r.Code != schema.CodeCurrent || r.Package.Release != 3 {
		t.Errorf("update: %s", r)
	}
	if is, err := os.Readlink(h.files.Path(schema.VersionDir + "/current")); err != nil || is != was {
		t.Errorf("the package was installed again: %s, then %s, %v", was, is, err)
	}
	if s := h.stateOf(); s.Installed.Release != 3 || s.Previous != nil {
		t.Errorf("installed %s, previous %s", s.Installed, s.Previous)
	}
	reports := f.Reports()
	if last := reports[len(reports)-1].Report; last.Release != 3 || last.Installed != one.Manifest.SHA256 {
		t.Errorf("reported %+v", last)
	}
	n := len(f.Reports())
	h.update()
	if got := len(f.Reports()); got != n+1 {
		t.Errorf("the next poll reports %d times, want once", got-n)
	}
}
