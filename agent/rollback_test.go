package agent

import (
	"os"
	"path/filepath"
	"slices"
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
	"bakehouse/schema/outcome"
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
	if err == nil || r.State != schema.StateFailed || r.Code != outcome.CodeUnhealthy || r.Package.Release != 1 ||
		fault.IsRefusal(err) {
		t.Errorf("update ended with %v: %s", err, r)
	}
	h.runs("one")
	reports := f.Reports()
	if last := reports[len(reports)-1].Report; last.State != schema.StateFailed || last.Code != outcome.CodeUnhealthy ||
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
		if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnhealthy {
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
		if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnhealthy {
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
	if r, err := h.Update(t.Context(), UpdateOptions{Retry: true}); err != nil || r.Code != outcome.CodeInstalled {
		t.Errorf("update --retry: %v, %s", err, r)
	}
}

func TestRollbackNeedsSomethingToGoBackToAndNoServer(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if _, err := h.Rollback(t.Context(), ""); err == nil {
		t.Error("rolled back from nothing")
	}
	f.Give("web01", version(f, "one"))
	h.update()
	f.Give("web01", version(f, "two"))
	h.update()
	f.Close()
	r, err := h.Rollback(t.Context(), "")
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
	if _, err := h.Rollback(t.Context(), ""); err != nil {
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
	if _, err := h.Rollback(t.Context(), ""); !fault.IsRefusal(err) {
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
	if err == nil || r.Code != outcome.CodeUnhealthy || r.Package.Release != 1 {
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
	if err == nil || r.Code != outcome.CodeUnhealthy || r.Package.Release != 1 ||
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

func TestRollbackToARelease(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	other := spec("zero")
	other.Shared = map[string]string{"/usr/lib/acme/big": "another program"}
	f.Give("web01", f.Pack(other))
	h.update()
	var packs []*trusttest.Package
	for _, text := range []string{"one", "two", "three"} {
		p := version(f, text)
		packs = append(packs, p)
		f.Give("web01", p)
		h.update()
	}
	fails := func(to, want, hint string) {
		t.Helper()
		_, err := h.Rollback(t.Context(), to)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(fault.HintOf(err), hint) {
			t.Errorf("--to %s: %v (%s)", to, err, fault.HintOf(err))
		}
		h.runs("three")
		if h.stateOf().Pending != nil {
			t.Errorf("--to %s has begun something", to)
		}
	}
	two := packs[1].Manifest.SHA256
	fails("1", "1 was installed here, but its bytes are not here any more",
		"the bytes of these are: release 3 ("+two.Short()+"), release 2 (")
	fails("4", "4 is installed", "update --force")
	fails(packs[2].Manifest.SHA256.Hex()[:12], "is installed", "update --force")
	fails("9", "9 was not installed here before", "release 3")
	fails(two.Hex()[:7], "was not installed here before", "release 3")

	if r, err := h.Rollback(t.Context(), "2"); err != nil || r.Package.Release != 2 ||
		r.Code != outcome.CodeRolledBack {
		t.Fatalf("%s, %v", r, err)
	}
	h.runs("one")
	// Neither what was left nor what was between comes back by itself.
	if r := h.update(); r.Package.Release != 2 {
		t.Errorf("the next update: %s", r)
	}
	h.runs("one")
	if failed := h.status().Failed; !slices.Equal(failed, []int64{3, 4}) {
		t.Errorf("failed here: %v", failed)
	}
	if r, err := h.Rollback(t.Context(), "sha256:"+two.Hex()); err != nil || r.Package.Release != 3 {
		t.Fatalf("%s, %v", r, err)
	}
	h.runs("two")
	if r := h.update(); r.Package.Release != 3 {
		t.Errorf("the next update: %s", r)
	}
}

func TestRollbackToAPackageWhoseBytesWereAlteredOrThatIsRevokedIsRefusedBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	one := version(f, "one")
	for _, p := range []*trusttest.Package{one, version(f, "two"), version(f, "three")} {
		f.Give("web01", p)
		h.update()
	}
	f.Policy.Revoked = []schema.Digest{one.Manifest.SHA256}
	f.Publish()
	h.update()
	if _, err := h.Rollback(t.Context(), "1"); !fault.IsRefusal(err) || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("revoked: %v", err)
	}
	segment := h.files.Stored(segmentsDir, one.Manifest.Segments()[0].Digest.Hex())
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Rollback(t.Context(), "2"); err == nil ||
		!strings.Contains(err.Error(), "its bytes are not here any more") {
		t.Errorf("altered: %v", err)
	}
	h.runs("three")
	if s := h.stateOf(); s.Pending != nil || s.Installed.Release != 3 {
		t.Errorf("%+v", s)
	}
}
