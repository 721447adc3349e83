package agent

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
	"bakehouse/schema/outcome"
)

func TestTheUpdaterAloneInstallsTheFirstPackageAndThenOnlyWhatChanges(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))

	first := h.update()
	h.runs("one")
	if first.Code != outcome.CodeInstalled || first.Package.Release != 1 ||
		!strings.HasPrefix(first.String(), "updated: web01 runs release 1, package ") {
		t.Errorf("first update: %s", first)
	}
	f.Give("web01", version(f, "two"))
	f.Requests()
	second := h.update()
	h.runs("two")
	for _, r := range f.Requests() {
		if strings.Contains(r, schema.SegmentPath) {
			t.Errorf("%s: the segment was here already", r)
		}
	}
	if second.Fetched >= first.Fetched || second.Fetched > 12000 {
		t.Errorf("the second update fetched %d bytes, the first %d", second.Fetched, first.Fetched)
	}
	for _, want := range []string{"polled " + f.URL, "verified timestamp 3, root 1", "decided: install: release 2",
		"fetching 1 of 1 segments (",
		"fetching 0 of 1 segments", "put together ", "signatures: accepted file", "signatures: accepted release",
		"installing bakehouse-agent two (tgz, release 2)",
		"healthy", "reported: current"} {
		if !strings.Contains(h.said.String(), want) {
			t.Errorf("the narration does not say %q:\n%s", want, &h.said)
		}
	}
	reports := f.Reports()
	last := reports[len(reports)-1].Report
	if last.State != schema.StateCurrent || last.Installed != second.Package.Package || last.Release != 2 ||
		last.Target != last.Installed ||
		last.Downloaded != last.Installed || last.Fetched == 0 || last.Recipe != second.Package.Recipe ||
		reports[len(reports)-1].Timestamp != 3 {
		t.Errorf("the host reports %+v", last)
	}
}

func TestAnIdlePollIsOneRequestAndWritesNoNews(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	h.update() // by the settings of the package, which have not led to a server before
	f.Requests()
	r := h.update()
	requests := f.Requests()
	if len(requests) != 1 || requests[0] != "POST "+schema.PollPath || r.Code != schema.CodeCurrent || r.Fetched != 0 {
		t.Errorf("idle update: %s, requests %q", r, requests)
	}
}

func TestARingDelayEndsWithoutTheServersWord(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Policy.Rings = []schema.Ring{{Name: "all", Delay: schema.Duration(48 * time.Hour)}}
	f.Give("web01", version(f, "one"))
	if r := h.update(); r.State != schema.StateHeld || r.Code != schema.CodeWaiting {
		t.Fatalf("within the delay: %s", r)
	}
	h.runs("absent")
	f.Pass(49 * time.Hour)
	h.said.Reset()
	if r := h.update(); r.Code != outcome.CodeInstalled {
		t.Errorf("after the delay: %s", r)
	}
	h.runs("one")
	if !strings.Contains(h.said.String(), "nothing new") {
		t.Errorf("the poll was not idle:\n%s", &h.said)
	}
}

func TestWhatHoldsAHostBackIsSaidAndReported(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fleet  func(*testfleet.Fleet)
		target func(*schema.Target)
		code   string
		say    string
	}{
		"master switch off": {func(f *testfleet.Fleet) { f.Policy.Enabled = false }, nil, schema.CodeDisabled,
			"deployment is currently globally disabled"},
		"not selected": {nil, func(t *schema.Target) { t.Selected = false }, schema.CodeNotSelected,
			"agent updates are disabled for host web01"},
		"no ring": {nil, func(t *schema.Target) { t.Ring = "" }, schema.CodeNoRing, "is in no ring"},
		"server hold": {func(f *testfleet.Fleet) { f.Hold("gate closed\x1b[2J") }, nil, outcome.CodeServerHold,
			"the server holds this host back: gate closed [2J"},
	} {
		t.Run(name, func(t *testing.T) {
			needs.Alike(t)
			f := testfleet.New(t)
			h := registered(t, f, "web01")
			if test.fleet != nil {
				test.fleet(f)
			}
			f.Give("web01", version(f, "one"), func(target *schema.Target) {
				if test.target != nil {
					test.target(target)
				}
			})
			r := h.update()
			if r.State != schema.StateHeld || r.Code != test.code || !strings.Contains(r.String(), test.say) {
				t.Errorf("update: %s", r)
			}
			h.runs("absent")
			reports := f.Reports()
			if last := reports[len(reports)-1]; last.Report.Code != test.code || last.Held != (name == "server hold") {
				t.Errorf("reported %+v", last)
			}
		})
	}
}

func TestAHostThatTheFleetHasNothingForHolds(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if r := h.update(); r.State != schema.StateHeld || r.Code != outcome.CodeNoTarget {
		t.Errorf("update: %s", r)
	}
}

func TestAnUnreachableServerChangesNothingAndIsReportedLater(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	f.Bend(func(w http.ResponseWriter, r *http.Request) bool { panic(http.ErrAbortHandler) })
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeUnreachable || fault.IsRefusal(err) || fault.HintOf(err) == "" {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("one")
	f.Bend(nil)
	h.update()
	reports := f.Reports()
	polled := reports[len(reports)-2].Report
	if polled.Code != outcome.CodeUnreachable || polled.State != schema.StateFailed {
		t.Errorf("the first poll afterwards reports %+v", polled)
	}
	if after := reports[len(reports)-1].Report; after.State != schema.StateCurrent {
		t.Errorf("and then %+v", after)
	}
}

func TestExpiredMetadataBlockInstallationsAndStopNothing(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	f.Policy.Rings = []schema.Ring{{Name: "all", Delay: schema.Duration(14 * 24 * time.Hour)}}
	f.Give("web01", version(f, "two"))
	h.update()
	f.Pass(15 * 24 * time.Hour) // the timestamp lasts for 7 days
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeExpired || r.State != schema.StateHeld {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("one")
	f.Publish()
	h.update()
	h.runs("two")
}

func TestACrashDuringInstallationConverges(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	two := version(f, "two")
	f.Give("web01", two)
	// As if the machine had died after the package was begun.
	pending := func(attempts int) {
		s := h.stateOf()
		s.Pending = &cycle.Pending{Attempts: attempts, Installed: cycle.Installed{Package: two.Manifest.SHA256,
			Manifest: f.ManifestOf("web01"), Release: 2, Format: schema.Tgz}}
		if err := h.files.Write(s); err != nil {
			t.Fatal(err)
		}
	}
	pending(1)
	h.update()
	h.runs("two")

	three := version(f, "three")
	f.Give("web01", three)
	two = three
	pending(cycle.MaxAttempts)
	s := h.stateOf()
	s.Pending.Release = 3
	if err := h.files.Write(s); err != nil {
		t.Fatal(err)
	}
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || !strings.Contains(err.Error(), "without completing") || r.Package.Release != 2 {
		t.Errorf("begun too often: %v, %s", err, r)
	}
	h.runs("two")
	if s := h.stateOf(); s.Pending != nil || s.WhyFailed(3) == "" {
		t.Errorf("state %+v", s)
	}
}

func TestAnInterruptedInstallationIsTakenBackWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	s := h.stateOf()
	begun := cycle.Installed{Package: schema.DigestOf(nil), Release: 2, Format: schema.Tgz}
	s.Pending = &cycle.Pending{Installed: begun, Attempts: 1}
	if err := h.files.Write(s); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(h.files.Path("/usr/bin/agent")); err != nil { // half done
		t.Fatal(err)
	}
	f.Close()
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeUnreachable {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("one")
	if h.stateOf().Pending != nil {
		t.Error("still pending")
	}
}

func TestAForeignFileInTheWayIsNoFailedRelease(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	if err := os.MkdirAll(h.files.Path("/usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.files.Path("/usr/bin/agent"), []byte("mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", version(f, "one"))
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || r.Code != outcome.CodeHost ||
		!strings.Contains(err.Error(), "was not created by bakehouse-agent") {
		t.Errorf("update: %v, %s", err, r)
	}
	h.runs("mine")
	if err := os.Remove(h.files.Path("/usr/bin/agent")); err != nil {
		t.Fatal(err)
	}
	h.update()
	h.runs("one")
}

func TestSegmentsAreKeptForTheInstalledAndThePreviousPackageOnly(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	for i := range 4 {
		s := spec(fmt.Sprint(i))
		s.Shared = map[string]string{"/usr/lib/acme/big": fmt.Sprint(i)}
		f.Give("web01", f.Pack(s))
		h.update()
		for dir, each := range map[string]int{segmentsDir: 1, packagesDir: 2} { // a manifest, and a record of files
			if entries, err := os.ReadDir(h.files.Stored(dir)); err != nil || len(entries) != each*min(i+1, 2) {
				t.Errorf("after %d updates %s holds %d files, %v", i+1, dir, len(entries), err)
			}
		}
	}
}

func TestTheStateIsForItsOwnerOnlyAndTheSecretIsNowhereElse(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", version(f, "one"))
	h.update()
	secret := h.stateOf().Registration.Secret
	err := filepath.WalkDir(h.files.Stored(), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil || fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %o, %v", p, fi.Mode().Perm(), err)
		}
		if d.IsDir() {
			return nil
		}
		b, err := os.ReadFile(p)
		holders := []string{state.RecordFile, state.IdentityFile}
		if strings.Contains(string(b), testfleet.Password) || !slices.Contains(holders, filepath.Base(p)) &&
			strings.Contains(string(b), secret) {
			t.Errorf("%s holds a secret", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := h.ShowConfig()
	if err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	if err := settings.Print(&shown); err != nil {
		t.Fatal(err)
	}
	if out := shown.String(); strings.Contains(out, secret) || !strings.Contains(out, "set (hidden)") {
		t.Errorf("show-config prints\n%s", out)
	}
}

func TestTwoUpdatesDoNotRunAtOnce(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	end, err := h.start(f).begin("test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Update(t.Context(), UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("update: %v", err)
	}
	end()
	h.update()
}

// It was found after the download, as exit status 127 of the package's script.
func TestWhatAPackageNeedsOfItsHostIsLookedForBeforeAnythingIsFetched(t *testing.T) {
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	p := version(f, "one")
	p.Manifest.Needs.Programs = []string{"no-such-program"}
	f.Give("web01", p)
	r, err := h.Update(t.Context(), UpdateOptions{})
	if err == nil || r.Code != outcome.CodeHost || fault.IsRefusal(err) ||
		!strings.Contains(err.Error(), "needs the program no-such-program, which is not on this host") {
		t.Fatalf("%+v, %v", r, err)
	}
	if entries, err := os.ReadDir(h.files.Stored(segmentsDir)); len(entries) > 0 {
		t.Errorf("%v was fetched (%v)", entries, err)
	}
	h.runs("absent")
	f.Give("web01", version(f, "two"))
	h.update()
	h.runs("two")
}
