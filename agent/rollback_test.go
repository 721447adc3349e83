package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

func TestUnhealthyMeansThePreviousPackageAndNoSecondTry(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	sick := script("#!/bin/sh\necho no database\nexit 1\n")
	sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(30 * time.Millisecond)}}
	f.Give("web01", f.Pack(sick))

	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.State != schema.StateFailed || r.Code != cycle.CodeUnhealthy || r.Package.Release != 1 ||
		fault.IsRefusal(err) {
		t.Errorf("update ended with %v: %s", err, r)
	}
	h.runs("one")
	reports := f.Reports()
	if last := reports[len(reports)-1].Report; last.State != schema.StateFailed || last.Code != cycle.CodeUnhealthy ||
		last.Release != 1 || !strings.Contains(last.Error, "health check of acme") {
		t.Errorf("reported %+v", last)
	}
	h.said.Reset()
	if r := h.update(); r.Code != schema.CodeFailed || !strings.Contains(r.Error, "health check of acme") ||
		strings.Contains(h.said.String(), "installing") {
		t.Errorf("the next update: %s\n%s", r, &h.said)
	}
	h.runs("one")
	f.Give("web01", version(f, "three"))
	h.update()
	h.runs("three")
}

// A crash after the switch, and a second attempt that finds the release unhealthy: what runs then is what was accepted,
// not what the first attempt left.
func TestWhatACrashLeftIsNotTakenForWhatWasAccepted(t *testing.T) {
	t.Parallel()
	sickly := func(f *testfleet.Fleet) *trusttest.Package {
		sick := script("#!/bin/sh\nexit 1\n")
		sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
			Within: schema.Duration(30 * time.Millisecond)}}
		return f.Pack(sick)
	}
	crash := func(h *host, p *trusttest.Package, manifest schema.Digest, release int64) {
		s := h.stateOf()
		s.Pending = &cycle.Pending{Attempts: 1, Installed: cycle.Installed{Package: p.Manifest.SHA256,
			Manifest: manifest, Recipe: p.Manifest.Recipe, Release: release, Format: schema.Tgz}}
		if err := h.files.Write(s); err != nil {
			t.Fatal(err)
		}
		m := p.Manifest
		if _, err := h.system().Install(t.Context(), install.Package{File: file(t, p.Bytes), SHA256: m.SHA256,
			Size: m.Size, Name: m.Name, Version: m.Version, Recipe: m.Recipe, Format: m.Format}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("an accepted package", func(t *testing.T) {
		f := testfleet.New(t)
		h := registered(t, f, "web01")
		one := version(f, "one")
		f.Give("web01", one)
		h.update()
		sick := sickly(f)
		f.Give("web01", sick)
		crash(h, sick, f.ManifestOf("web01"), 2)
		if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != cycle.CodeUnhealthy {
			t.Errorf("update ended with %v: %s", err, r)
		}
		h.runs("one")
		f.Give("web01", one)
		h.update()
		h.runs("one")
	})
	t.Run("what was unpacked by hand", func(t *testing.T) {
		f := testfleet.New(t)
		h := registered(t, f, "web01")
		h.unpack(version(f, "by hand"))
		sick := sickly(f)
		f.Give("web01", sick)
		crash(h, sick, f.ManifestOf("web01"), 1)
		if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != cycle.CodeUnhealthy {
			t.Errorf("update ended with %v: %s", err, r)
		}
		h.runs("by hand")
		f.Give("web01", version(f, "two"))
		h.update()
		h.runs("two")
	})
}

func TestAFirstPackageThatIsUnhealthyIsTakenBack(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	sick := script("#!/bin/sh\nexit 1\n")
	sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(30 * time.Millisecond)}}
	f.Give("web01", f.Pack(sick))
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Package != nil {
		t.Errorf("update ended with %v: %s", err, r)
	}
	h.runs("absent")
	if s := h.stateOf(); s.Pending != nil || len(s.Failed) != 1 || s.WhyFailed(1) == "" {
		t.Errorf("state %+v", s)
	}
}

func TestRetryTriesAFailedReleaseAgain(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	moody := script("#!/bin/sh\ntest -e \"$BAKEHOUSE_ROOT/ready\"\n")
	moody.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(3 * time.Second)}}
	f.Give("web01", f.Pack(moody))
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil {
		t.Fatal("passed")
	}
	if err := os.WriteFile(filepath.Join(h.root, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := h.Update(t.Context(), UpdateOptions{Retry: true}); err != nil || r.Code != cycle.CodeInstalled {
		t.Errorf("update --retry: %v, %s", err, r)
	}
}

func TestRollbackNeedsSomethingToGoBackToAndNoServer(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if _, err := h.Rollback(t.Context()); err == nil {
		t.Error("rolled back from nothing")
	}
	f.Give("web01", version(f, "one"))
	h.update()
	f.Give("web01", version(f, "two"))
	h.update()
	f.Close()
	r, err := h.Rollback(t.Context())
	if err != nil || r.Package.Release != 1 {
		t.Fatalf("rollback: %v, %s", err, r)
	}
	h.runs("one")
}

func TestAfterARollbackOnlyANewerReleaseIsInstalled(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	for _, v := range []string{"one", "two"} {
		f.Give("web01", version(f, v))
		h.update()
	}
	if _, err := h.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("one")
	f.Give("web01", version(f, "three"))
	h.update()
	h.runs("three")
}

func TestARevokedPackageIsNoPlaceToGoBackTo(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	one := version(f, "one")
	f.Give("web01", one)
	h.update()
	f.Policy.Revoked = []schema.Digest{one.Manifest.SHA256}
	f.Give("web01", version(f, "two"))
	h.update()
	if _, err := h.Rollback(t.Context()); !fault.IsRefusal(err) {
		t.Errorf("rollback: %v", err)
	}
	h.runs("two")
}

func TestADebGoesThroughDpkgAndComesBackWhenItIsSick(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if err := h.system().CanInstall(schema.Deb); err != nil {
		needs.Missing(t, "%v", err)
	}
	one := spec("1")
	one.Format = schema.Deb
	f.Give("web01", f.Pack(one))
	h.update()
	h.runs("1")
	sick := spec("2")
	sick.Format = schema.Deb
	sick.Health = []schema.HealthCheck{{Plugin: "acme", Command: []string{"/usr/bin/agent"},
		Within: schema.Duration(30 * time.Millisecond)}}
	f.Give("web01", f.Pack(sick))
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != cycle.CodeUnhealthy || r.Package.Release != 1 {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("1")
}

func TestAnUpdaterThatCannotReadItsNewSettingsIsTakenBack(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	// The program stands for one that says what this one would say of settings without keys.
	bad := spec("two")
	bad.Own[programFile] = "#!/bin/sh\ntest \"$1 $3\" = '--root show-config' || exit 9\necho no accepted signature " +
		"keys\nexit 1\n"
	f.Give("web01", f.Pack(bad))
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != cycle.CodeUnhealthy || r.Package.Release != 1 ||
		!strings.Contains(err.Error(), "no accepted signature keys") {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("one")
}

// script is a package whose program is a shell script.
func script(text string) testfleet.Spec {
	s := spec(text)
	s.Version = "script"
	return s
}
