package agent

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/internal/testfleet"
	"bakehouse/agent/state"
	"bakehouse/agent/trust/trusttest"
	"bakehouse/schema"
	"bakehouse/schema/keeps"
	"bakehouse/schema/outcome"
)

// printing is a package whose agent prints sections; others are missed after an update, but for dropped.
func printing(t *testing.T, f *testfleet.Fleet, dropped []string, sections ...string) *trusttest.Package {
	t.Helper()
	k := keeps.Default("acme")
	k.Command, k.Names, k.Dropped = []string{"/usr/bin/agent"}, "^<<<(.+)>>>", dropped
	k.Settle, k.Retries = schema.Duration(time.Millisecond), 1
	b, err := json.Marshal([]keeps.Keeps{k})
	if err != nil {
		t.Fatal(err)
	}
	p := spec(agentOf(sections...))
	p.Own[schema.KeepsFile(runtime.GOOS)] = string(b)
	p.Version = "v" + schema.DigestOf([]byte(p.Own["/usr/bin/agent"]+string(b))).Short()
	return f.Pack(p)
}

func agentOf(sections ...string) string {
	return "#!/bin/sh\nprintf '<<<%s>>>\\n' " + strings.Join(sections, " ") + "\n"
}

func TestAnUpdateThatTheMonitoringLosesANameByIsTakenBack(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", printing(t, f, nil, "df", "mem", "mysql"))
	h.update()
	f.Give("web01", printing(t, f, nil, "df", "mem", "new"))
	r, err := h.Update(t.Context(), UpdateOptions{})
	const lost = "the monitoring of plugin acme no longer has mysql"
	if err == nil || r.Code != outcome.CodeUnhealthy || !strings.Contains(r.Error, lost) {
		t.Fatalf("%s: %v", r, err)
	}
	h.runs(agentOf("df", "mem", "mysql"))
	if r := lastReport(t, f); r.Code != outcome.CodeUnhealthy || !strings.Contains(r.Error, lost) {
		t.Errorf("reported %+v", r)
	}
	if r := h.update(); r.Code != schema.CodeFailed || !strings.Contains(r.Error, lost) {
		t.Errorf("the next update: %s", r)
	}
	if s := h.status(); !strings.Contains(s.Last.Error, lost) {
		t.Errorf("status %+v", s.Last)
	}
	f.Give("web01", printing(t, f, []string{"my.*"}, "df", "mem", "new"))
	if r := h.update(); r.Code != outcome.CodeInstalled {
		t.Errorf("what is announced: %s", r)
	}
	f.Give("web01", printing(t, f, nil, "df", "mem"))
	if r, err := h.Update(t.Context(), UpdateOptions{}); err == nil || !strings.Contains(r.Error, "no longer has new") {
		t.Errorf("a name that came with the last update: %s", r)
	}
	f.Give("web01", version(f, "none"))
	if r := h.update(); r.Code != outcome.CodeInstalled || len(h.stateOf().Sees) != 0 {
		t.Errorf("a plugin that goes: %s", r)
	}
}

func TestWhatWasLostBeforeAnUpdateIsNotHeldAgainstIt(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	f.Give("web01", printing(t, f, nil, "df", "mysql"))
	h.update()
	// An administrator does.
	if err := os.WriteFile(h.files.Path("/usr/bin/agent"), []byte(agentOf("df")), 0o755); err != nil {
		t.Fatal(err)
	}
	f.Give("web01", printing(t, f, nil, "df", "mem"))
	if r := h.update(); r.Code != outcome.CodeInstalled {
		t.Errorf("%s", r)
	}
}

func TestAHostInstallsInItsMaintenanceWindowsOnlyUnlessItIsUrgent(t *testing.T) {
	t.Parallel()
	f := testfleet.New(t)
	h := registered(t, f, "web01")
	opens := f.Now().Local().Truncate(time.Minute).Add(2 * time.Hour)
	in := func(text string) *trusttest.Package {
		s := spec(text)
		s.Change = func(c *schema.AgentConfig) {
			c.Windows = []string{opens.Format("Mon 15:04-") + opens.Add(time.Hour).Format("15:04")}
		}
		return f.Pack(s)
	}
	f.Give("web01", in("one")) // a host without settings has no windows
	h.update()
	h.runs("one")
	f.Give("web01", in("two"))
	held := func() {
		t.Helper()
		r := h.update()
		want := "no maintenance window is open; the next one opens at " + opens.Format(time.RFC3339) +
			"; release 2 is to be installed"
		if r.State != schema.StateHeld || r.Code != outcome.CodeWindow || r.Why != want || r.Critical != "" {
			t.Errorf("%s, want %s", r, want)
		}
		h.runs("one")
	}
	held()
	if last := lastReport(t, f); last.Code != outcome.CodeWindow || !last.HeldSince.IsZero() {
		t.Errorf("reported %+v", last)
	}
	s, err := h.files.Load()
	if err != nil {
		t.Fatal(err)
	}
	s.LastCheck = f.Now().Add(90 * time.Minute)
	if f.Pass(100 * time.Minute); h.pauseBefore(s) > 21*time.Minute {
		t.Errorf("the service sleeps for %s, and a window opens in 20 minutes", h.pauseBefore(s))
	}
	held()
	f.Pass(20 * time.Minute)
	h.update()
	h.runs("two")

	f.Pass(2 * time.Hour)
	opens = opens.Add(7 * 24 * time.Hour)
	f.Give("web01", in("three"))
	if r := h.update(); r.Code != outcome.CodeWindow {
		t.Errorf("%s", r)
	}
	if _, err := h.Update(t.Context(), UpdateOptions{Force: true}); err != nil {
		t.Error(err)
	}
	h.runs("three")
	f.Give("web01", in("four"))
	f.Policy.Revoked = []schema.Digest{h.stateOf().Installed.Package}
	f.Publish()
	h.update()
	h.runs("four")
	if !slices.ContainsFunc(s.Settings(), func(s state.Setting) bool {
		return s.Name == "maintenance windows" && s.From == state.FromConfig
	}) {
		t.Error("the settings do not show the windows")
	}
}
