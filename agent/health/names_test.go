package health

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/schema"
	"bakehouse/schema/keeps"
)

// kept is a sandbox with an agent, a script, whose section headers are kept.
func kept(t *testing.T, script string, change func(*keeps.Keeps)) Host {
	t.Helper()
	k := keeps.Default("acme")
	k.Command, k.Names = []string{"/usr/bin/acme"}, "^<<<(.+)>>>"
	k.Settle, k.Retries = schema.Duration(time.Millisecond), 2
	if change != nil {
		change(&k)
	}
	b, err := json.Marshal([]keeps.Keeps{k})
	if err != nil {
		t.Fatal(err)
	}
	return withHealth(t, nil, map[string]string{schema.KeepsFile(runtime.GOOS): string(b),
		"/usr/bin/acme": "#!/bin/sh\n" + script})
}

// saw is a state that has seen an agent's names three times.
func saw(h Host, t *testing.T) *cycle.State {
	t.Helper()
	c, _ := cycle.Begin(cycle.State{Installed: &cycle.Installed{Release: 1}}, cycle.Options{})
	c, _ = c.Step(cycle.Prepared{Next: cycle.Installed{Release: 2, Package: schema.Digest{2}}}, time.Time{})
	c, _ = c.Step(cycle.Surveyed{Seen: h.Survey(t.Context(), &c.State)}, time.Time{})
	return &c.State
}

func script(t *testing.T, h Host, text string) {
	t.Helper()
	if err := os.WriteFile(h.path("/usr/bin/acme"), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
}

const sections = "echo '<<<df>>>'; echo '<<<mem>>>'; echo '<<<mysql>>>'\n"

func TestANameThatIsMissingAfterAnUpdateIsIllHealth(t *testing.T) {
	t.Parallel()
	h := kept(t, sections, nil)
	s := saw(h, t)
	if seen, err := h.Names(t.Context(), s); err != nil || len(seen) != 1 || len(seen[0].Names) != 3 {
		t.Errorf("nothing changed: %v, %v", seen, err)
	}
	script(t, h, "echo '<<<mem>>>'; echo '<<<new>>>'\n")
	_, err := h.Names(t.Context(), s)
	if want := "the monitoring of plugin acme no longer has df, mysql, which it had before"; err == nil ||
		!strings.HasPrefix(err.Error(), want) {
		t.Errorf("%v", err)
	}
	script(t, h, "exit 3\n")
	if _, err := h.Names(t.Context(), s); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("an agent that fails: %v", err)
	}
}

func TestANameThatIsThereLaterIsNotLost(t *testing.T) {
	t.Parallel()
	h := kept(t, sections, nil)
	s := saw(h, t)
	script(t, h, "cd \"$BAKEHOUSE_ROOT\" || exit 9\necho >>tries\ntest $(wc -l <tries) -ge 3 || exit 0\n"+sections)
	if _, err := h.Names(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestOnlyWhatIsThereEachTimeIsMissed(t *testing.T) {
	t.Parallel()
	h := kept(t, "cd \"$BAKEHOUSE_ROOT\" || exit 9\necho >>tries\ntest $(wc -l <tries) -ge 2 || echo '<<<once>>>'\n"+
		sections, nil)
	s := saw(h, t)
	if got := strings.Join(s.Common("acme", s.Sees[0].Keeps), " "); got != "df mem mysql" {
		t.Errorf("%q", got)
	}
}

func TestAnotherWayToFindNamesComparesNothing(t *testing.T) {
	t.Parallel()
	s := saw(kept(t, sections, nil), t)
	h := kept(t, "true\n", func(k *keeps.Keeps) { k.Names = "^(.*)" })
	if _, err := h.Names(t.Context(), s); err != nil {
		t.Error(err)
	}
	h = kept(t, "echo '<<<mem>>>'\n", func(k *keeps.Keeps) { k.Dropped = []string{"df", "my.*"} })
	if _, err := h.Names(t.Context(), s); err != nil {
		t.Errorf("what was announced: %v", err)
	}
}

func TestAnAgentThatCouldNotBeRunBeforeIsNotMissedAfter(t *testing.T) {
	t.Parallel()
	h := kept(t, "exit 1\n", nil)
	s := saw(h, t)
	if _, err := h.Names(t.Context(), s); err != nil || len(s.Sees) != 0 {
		t.Errorf("%v, %v", err, s.Sees)
	}
}

func TestAnAgentThatHangsOrPrintsWithoutEndIsStopped(t *testing.T) {
	t.Parallel()
	h := kept(t, sections, func(k *keeps.Keeps) { k.Retries, k.Within = 0, schema.Duration(time.Second) })
	s := saw(h, t)
	script(t, h, sections+"sleep 1000 &\nsleep 1000\n")
	if _, err := h.Names(t.Context(), s); err == nil || !strings.Contains(err.Error(), "did not end within 1s") {
		t.Errorf("%v", err)
	}
	script(t, h, "i=0; while :; do i=$((i+1)); echo \"<<<a-long-name-of-a-section-$i>>>\"; done\n")
	if seen, err := h.Names(t.Context(), s); err != nil || len(seen) != 1 || !seen[0].Failed {
		t.Errorf("%v, %v", seen, err)
	}
}

func TestNamesAreFetchedFromAnAddressOfTheHost(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			fmt.Fprint(w, "# TYPE node_load1 gauge\nnode_load1 1\n# TYPE up counter\n")
		case "/away":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		}
	}))
	t.Cleanup(server.Close)
	k := keeps.Default("node")
	k.URL, k.Names = server.URL+"/metrics", "^# TYPE ([a-z0-9_]+) "
	if got, err := fetch(t.Context(), k); err != nil || strings.Join(got, " ") != "node_load1 up" {
		t.Errorf("%q, %v", got, err)
	}
	k.URL = server.URL + "/away"
	if _, err := fetch(t.Context(), k); err == nil || !strings.Contains(err.Error(), "302") {
		t.Errorf("a redirect: %v", err)
	}
}

func TestServicesThatFailOrDoNotStayUpAreIll(t *testing.T) {
	t.Parallel()
	const at = "Id=%s.service\nLoadState=loaded\nActiveState=%s\nSubState=%s\nResult=exit-code\nNRestarts=%d\n\n"
	up := fmt.Sprintf(at, "a", "active", "running", 7)
	for name, c := range map[string]struct {
		last   string
		before []string
		want   string
	}{
		"up":                        {up, nil, ""},
		"failed":                    {fmt.Sprintf(at, "a", "failed", "failed", 7), nil, "has failed (exit-code)"},
		"failed before":             {fmt.Sprintf(at, "a", "failed", "failed", 7), []string{"a.service"}, ""},
		"about to be started again": {fmt.Sprintf(at, "a", "activating", "auto-restart", 7), nil, "again and again"},
		"started again once":        {fmt.Sprintf(at, "a", "active", "running", 8), nil, ""},
		"started again twice":       {fmt.Sprintf(at, "a", "active", "running", 9), nil, "2 times within 10s"},
		"gone":                      {"Id=a.service\nLoadState=not-found\nActiveState=inactive\n", nil, ""},
	} {
		err := compare(shown(up), shown(c.last), c.before, 10*time.Second)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
