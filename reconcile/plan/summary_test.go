package plan

import (
	"strings"
	"testing"

	"bakehouse/schema/fleet"
)

// A first plan of hosts with different settings and the same scripts.
func firstPlan() *Report {
	outputs := func(own string) []*fleet.Output {
		return []*fleet.Output{{Plugin: "p", Files: []fleet.File{
			textFile("/etc/own", own+"\n", 0o644), textFile("/usr/bin/p", "#!/bin/sh\ntrue\n", 0o755),
		}}}
	}
	return build(side(nil, nil), side(map[string][]*fleet.Output{"a": outputs("a"), "b": outputs("b")}, nil))
}

func TestWhatTwoGroupsHaveAlikeIsShownOnce(t *testing.T) {
	var b strings.Builder
	if err := firstPlan().Text(&b); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int{
		"+#!/bin/sh\n": 1, "+a\n": 1, "+b\n": 1, "! file /usr/bin/p added (executable)": 2, "; as above\n": 1,
	} {
		if got := strings.Count(b.String(), text); got != want {
			t.Errorf("%q is there %d times, want %d:\n%s", text, got, want, b.String())
		}
	}
}

// Two texts that differ only after the lines that are shown are not the same difference.
func TestWhatOnlyLooksAlikeIsShownAgain(t *testing.T) {
	long := strings.Repeat("line\n", maxDiffLines+10)
	outputs := func(end string) []*fleet.Output {
		return []*fleet.Output{{Plugin: "p", Files: []fleet.File{textFile("/usr/bin/p", long+end, 0o755)}}}
	}
	var b strings.Builder
	r := build(side(nil, nil), side(map[string][]*fleet.Output{"a": outputs("a\n"), "b": outputs("b\n")}, nil))
	if err := r.Text(&b); err != nil || strings.Contains(b.String(), "as above") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestASummaryNamesHostsReasonsAndItemsAndShowsNoText(t *testing.T) {
	var b strings.Builder
	if err := firstPlan().SummaryText(&b); err != nil {
		t.Fatal(err)
	}
	want := `plan for f: a side, compared with a side
2 hosts: 2 added; 2 packages to bake

acts as root, or may:
  ! file /usr/bin/p added (executable, plugin p, 2 hosts)
  ! file /etc/own added (a program that runs as root may read it, plugin p, 2 hosts)

1 host added: a
  by host added  hosts/hosts.cue
  added: file /usr/bin/p, file /etc/own

1 host added: b
  by host added  hosts/hosts.cue
  added: file /usr/bin/p, file /etc/own
`
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}
