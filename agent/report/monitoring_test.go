package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/agent/cycle"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/outcome"
)

// sectionOf is the line of JSON in s's section, and the lines after it.
func sectionOf(t *testing.T, s *Status) (fields map[string]any, more []string) {
	t.Helper()
	s.Judge(noon)
	var b strings.Builder
	if err := s.Section(&b); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if lines[0] != "<<<cmk_update_agent_status:sep(0)>>>" || len(lines) < 2 {
		t.Fatalf("%q", lines)
	}
	if err := json.Unmarshal([]byte(lines[1]), &fields); err != nil {
		t.Fatalf("%v: %s", err, lines[1])
	}
	return fields, lines[2:]
}

func TestTheCheckmkSectionHasTheFieldsThatTheParserKnowsInItsTypes(t *testing.T) {
	t.Parallel()
	s := healthy()
	s.Keys = []Key{
		{KeyState: schema.KeyState{Name: "release", State: schema.KeyValid}, Algorithm: "ed25519"},
		{KeyState: schema.KeyState{Name: "next", State: schema.KeyExpiring, Expires: noon.Add(day)}, Algorithm: "rsa"},
		{KeyState: schema.KeyState{Name: "broken", State: schema.KeyCorrupt}},
	}
	got, more := sectionOf(t, s)
	want := map[string]any{
		"aghash": pkg.Hex()[:16], "error": nil, "pending_hash": nil, "update_url": "https://b.example",
		"host_name": "web01", "last_check": float64(noon.Unix() - 60),
		"last_update": float64(noon.Add(-7 * day).Unix()),
		"trusted_certs": map[string]any{
			"0": map[string]any{"corrupt": false, "not_after": "9999-12-30T23:59:59+00:00",
				"signature_algorithm": "ed25519", "common_name": "release"},
			"1": map[string]any{"corrupt": false, "not_after": "2026-03-02T12:00:00+00:00",
				"signature_algorithm": "rsa", "common_name": "next"},
			"2": map[string]any{"corrupt": true, "not_after": nil, "signature_algorithm": nil, "common_name": "broken"},
		},
	}
	g, _ := json.MarshalIndent(got, "", " ")
	w, _ := json.MarshalIndent(want, "", " ")
	if string(g) != string(w) || len(more) > 0 {
		t.Errorf("section\n%s\nwant\n%s\nthen %q", g, w, more)
	}
}

func TestAHostThatHasNothingYetHasNullsInItsSection(t *testing.T) {
	t.Parallel()
	got, _ := sectionOf(t, &Status{})
	for _, name := range []string{"aghash", "error", "last_check", "last_update", "pending_hash", "update_url",
		"host_name"} {
		if v, ok := got[name]; !ok || v != nil {
			t.Errorf("%s is %v, %t", name, v, ok)
		}
	}
}

func TestAHashOfDigitsAloneIsText(t *testing.T) {
	t.Parallel()
	s := healthy()
	digits, err := schema.ParseDigest("sha256:" + strings.Repeat("1234567890123456", 4))
	if err != nil {
		t.Fatal(err)
	}
	s.Installed.Package, s.Last.Target = digits, pkg
	got, _ := sectionOf(t, s)
	if got["aghash"] != "1234567890123456" || got["pending_hash"] != pkg.Hex()[:16] {
		t.Errorf("%v", got)
	}
}

func TestWhatCheckmkHasStatesForIsSaidInItsWords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bend func(s *Status)
		want any // error
	}{
		"off for all hosts": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: schema.CodeDisabled, Why: "the master switch is off"}
		}, "deployment is currently globally disabled: the master switch is off"},
		"off for this host": {func(s *Status) {
			s.Last = cycle.Outcome{State: schema.StateHeld, Code: schema.CodeNotSelected, Why: "not selected"}
		}, "agent updates are disabled for host web01: not selected"},
		"a server unreachable for an hour": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.HeldSince = noon.Add(-time.Hour)
		}, nil},
		"a server unreachable for a week": {func(s *Status) {
			failed(s, outcome.CodeUnreachable, "no route")
			s.HeldSince = noon.Add(-7 * day)
		}, "failed: no route, since 2026-02-22T12:00:00Z"},
		"paused by the host's administrator": {func(s *Status) {
			s.Paused = &schema.Pause{Since: noon.Add(-day), Until: noon.Add(day), Reason: "migration"}
		}, "agent updates are disabled for host web01: paused on this host since 2026-02-28T12:00:00Z until " +
			"2026-03-02T12:00:00Z: migration"},
		"paused until now": {func(s *Status) { s.Paused = &schema.Pause{Until: noon} }, nil},
		"two lines with a header": {func(s *Status) { failed(s, outcome.CodeHost, "full\n<<<local>>>\n") },
			"failed: full; <<<local>>>"},
	} {
		s := healthy()
		c.bend(s)
		if got, _ := sectionOf(t, s); got["error"] != c.want {
			t.Errorf("%s: %v, want %v", name, got["error"], c.want)
		}
	}
}

func TestARollbackIsAWarningOfCheckmksOwnAgentService(t *testing.T) {
	t.Parallel()
	s := healthy()
	failed(s, outcome.CodeUnhealthy, "release 8 failed here:\nexit 1")
	_, more := sectionOf(t, s)
	want := []string{"<<<check_mk>>>", "UpdateFailed: release 8 failed here:; exit 1",
		"UpdateRecoverAction: going on with acme 1.0"}
	if !slices.Equal(more, want) {
		t.Errorf("%q, want %q", more, want)
	}
	failed(s, outcome.CodeHost, "disk full")
	if _, more := sectionOf(t, s); len(more) > 0 {
		t.Errorf("%q although no release failed", more)
	}
}

func TestNagiosGetsOneLineWhateverTheTextsAre(t *testing.T) {
	t.Parallel()
	nagios := func(s *Status) string {
		s.Judge(noon)
		var b strings.Builder
		if err := s.Nagios(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	const perf = " | last_check=1772366340s last_update=1771761600s interval=3600s\n"
	if got, want := nagios(healthy()), "BAKEHOUSE OK - web01 runs release 7, acme 1.0"+perf; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	s := healthy()
	failed(s, outcome.CodeHost, "a | b\nc")
	want := "BAKEHOUSE WARNING - web01 runs release 7, acme 1.0; failed: a / b; c" + perf
	if got := nagios(s); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := nagios(&Status{Problem: "p"}); got !=
		"BAKEHOUSE WARNING - not registered; p | last_check=0s last_update=0s interval=0s\n" {
		t.Errorf("%q", got)
	}
}

// A line of Prometheus's text format.
var promLine = regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+` +
	`(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? -?[0-9]+)$`)

func TestTheTextfileIsReplacedAsAWholeAndReadableByOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	name := filepath.Join(dir, "bakehouse.prom")
	s := healthy()
	s.Site = "a \"site\"\n\\"
	s.Keys = []Key{{KeyState: schema.KeyState{Name: "release", State: schema.KeyValid, Expires: noon}}}
	failed(s, outcome.CodeHost, "full")
	s.Judge(noon)
	for range 2 {
		if err := s.WritePrometheus(name); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	typed := map[string]bool{}
	for _, line := range strings.Split(strings.TrimSuffix(string(b), "\n"), "\n") {
		if !promLine.MatchString(line) {
			t.Errorf("%q is no line of the format", line)
		}
		if f := strings.Fields(line); f[0] == "#" && f[1] == "TYPE" {
			if typed[f[2]] {
				t.Errorf("%s has a type twice", f[2])
			}
			typed[f[2]] = true
		}
	}
	for _, want := range []string{
		`site="a \"site\"\n\\",server="https://b.example"`, "\nbakehouse_agent_severity 1\n",
		"\nbakehouse_agent_release 7\n", "\nbakehouse_agent_last_check_timestamp_seconds 1772366340\n",
		"\nbakehouse_agent_key_expiry_timestamp_seconds{key=\"release\"} 1772366400\n",
	} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%q is not in\n%s", want, b)
		}
	}
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	if all, _ := os.ReadDir(dir); len(all) != 1 {
		t.Errorf("%v stay", all)
	}
	if err := s.WritePrometheus(filepath.Join(dir, "bakehouse.txt")); err == nil {
		t.Error("a file that no collector reads was written")
	}
}

func TestATextfileThatCannotBeWrittenIsNamed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "absent", "x.prom")
	err := healthy().WritePrometheus(name)
	if err == nil || err.Error() != "cannot write "+name+": no such file or directory" || fault.HintOf(err) == "" {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
}
