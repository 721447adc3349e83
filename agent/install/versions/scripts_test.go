package versions

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install/machine"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// noting is a package whose scripts note in the root which version's they are, and why and when they run.
func noting(version, failing string) []entry {
	return []entry{{name: "./usr/bin/agent", data: "agent " + version, mode: 0o755},
		{name: "./usr/lib/bakehouse/scripts", mode: 0o755, data: `set -e
[ -f "$2/usr/bin/agent" ]
there=none
[ ! -f "$DPKG_ROOT/usr/bin/agent" ] || there=$(cat "$DPKG_ROOT/usr/bin/agent")
case $1 in users | owners) exit 0 ;; esac
echo "` + version + ` $1 $BAKEHOUSE_ACTION: $there" >>"$DPKG_ROOT/notes"
[ "$1" != "` + failing + `" ]
`}}
}

func TestAVersionsScriptsRunWithEachSwitchAndItsReturn(t *testing.T) {
	s := sandbox(t)
	notes := func(what string, want ...string) {
		t.Helper()
		b, _ := os.ReadFile(filepath.Join(s.Root, "notes"))
		os.Remove(filepath.Join(s.Root, "notes"))
		if got := strings.Split(strings.TrimSpace(string(b)), "\n"); !slices.Equal(got, want) {
			t.Errorf("%s ran\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, noting("1", "")...)))
	notes("an installation", "1 pretrans install: none", "1 preinst install: none", "1 postinst install: agent 1",
		"1 services install: agent 1",
		"1 posttrans install: agent 1")
	revert := mustInstall(t, s, stage(t, schema.Tgz, archive(t, noting("2", "")...)))
	upgrade := []string{"1 prerm upgrade: agent 1", "2 pretrans upgrade: agent 1", "2 preinst upgrade: agent 1",
		"1 postrm upgrade: agent 2", "2 postinst upgrade: agent 2", "2 services upgrade: agent 2",
		"2 posttrans upgrade: agent 2"}
	notes("an upgrade", upgrade...)
	if err := revert(t.Context()); err != nil {
		t.Fatal(err)
	}
	const services = "1 services upgrade: agent 1" // when it had got as far as the new version's
	again := []string{"1 postinst upgrade: agent 1", "1 posttrans upgrade: agent 1"}
	notes("taking it back", append(slices.Clone(again), services)...)

	for step, ran := range map[string]int{"pretrans": 2, "preinst": 3, "postinst": 5, "services": 6, "posttrans": 7} {
		_, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, noting("2", step)...)))
		if err == nil || !strings.Contains(err.Error(), "script for "+step+" failed") || machine.Touched(err) {
			t.Errorf("%s fails: %v", step, err)
		}
		want := append(slices.Clone(upgrade[:ran]), again...)
		if ran > 5 {
			want = append(want, services)
		}
		notes("a failing "+step, want...)
	}
	// What an old version would do before it goes cannot hold up the one that mends it.
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, noting("3", "prerm")...)))
	os.Remove(filepath.Join(s.Root, "notes"))
	mustInstall(t, s, stage(t, schema.Tgz, archive(t, noting("4", "")...)))
	notes("an upgrade from a broken version", "3 prerm upgrade: agent 3", "4 pretrans upgrade: agent 3",
		"4 preinst upgrade: agent 3",
		"3 postrm upgrade: agent 4", "4 postinst upgrade: agent 4", "4 services upgrade: agent 4",
		"4 posttrans upgrade: agent 4")
}

func TestAFailingScriptSaysWhatItPrinted(t *testing.T) {
	s := sandbox(t)
	_, err := s.Install(t.Context(), stage(t, schema.Tgz, archive(t, entry{name: "./usr/lib/bakehouse/scripts",
		data: "echo why >&2; exit 7"})))
	var exit interface{ ExitCode() int }
	if !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(fault.HintOf(err), "why") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if got := runs(t, s); len(got) != 0 {
		t.Errorf("it left %v", got)
	}
}
