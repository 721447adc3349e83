package rules

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestHostsWithoutAPackageAreWarnedOfAndKeepNobodyElseFromTheirs(t *testing.T) {
	for name, c := range map[string]struct {
		hosts            int // c and on
		platform, format string
		plugin           string // that they have besides the updater
		want             string
	}{
		"a platform without a pinned program": {1, "linux/arm64", "deb", "",
			"fleet.cue: host c gets no package: no host program is pinned for linux/arm64"},
		"more hosts than are named": {5, "linux/s390x", "deb", "",
			"fleet.cue: hosts c, d, e and 2 more get no package: no host program is pinned for linux/s390x"},
		"a platform without any format": {1, "plan9/amd64", "deb", "",
			"hosts/r.cue:2:9: host c gets no package: packages for plan9/amd64 are not made yet"},
		"a file where macOS lets nobody write": {1, "darwin/arm64", "tgz", "q",
			"host c gets no package: plugin q has the file /usr/bin/q, where macOS lets nobody write"},
		"users where nobody makes them": {1, "solaris/amd64", "tgz", "p",
			"host c gets no package: plugin p makes users, which is done on Linux only"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel()
			m.Programs[schema.Platform{OS: "linux", Arch: "amd64"}] = fleet.Program{Version: "1.2.3"}
			m.always(fleet.UpdaterPlugin, fleet.Output{Files: []fleet.File{{Path: "/opt/u", Program: true, Size: -1}}})
			m.plugin("p", func(fleet.Inputs, map[string]fleet.Value) fleet.Output {
				return fleet.Output{Users: []fleet.User{{Name: "u"}}}
			})
			m.plugin("q", func(fleet.Inputs, map[string]fleet.Value) fleet.Output {
				return fleet.Output{Files: []fleet.File{inline("/usr/bin/q", "")}}
			})
			if c.plugin != "" {
				m.rule("more", c.plugin, fleet.Rule{})
			}
			for i := range c.hosts {
				m.elsewhere(string(rune('c'+i)), c.platform, c.format)
			}
			r := m.resolve(t)
			if got := fmt.Sprint(r.Warnings[:1]); !strings.Contains(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			if r.Warnings[0].Hint == "" {
				t.Error("nothing says what to do")
			}
			if r.Hosts["c"].Lacks == "" || r.Hosts["a"].Lacks != "" {
				t.Errorf("c lacks %q, a lacks %q", r.Hosts["c"].Lacks, r.Hosts["a"].Lacks)
			}
			for _, m := range r.Missing {
				if strings.Contains(m.Msg, "no package") {
					t.Errorf("it keeps all others from their packages: %v", m)
				}
			}
		})
	}
	t.Run("no package at all is an error of the fleet", func(t *testing.T) {
		m := newModel()
		m.folder("").Defaults[fleet.AttrPlatform] = jsonOf("plan9/amd64")
		got := m.resolve(t).Missing.Error()
		if !strings.Contains(got, "hosts a, b get no package: packages for plan9/amd64 are not made yet") ||
			!strings.Contains(got, `mark them `) {
			t.Errorf("got\n%s", got)
		}
	})
	t.Run("a service that its manager does not support", func(t *testing.T) {
		m := newModel()
		m.always("p", fleet.Output{Services: []fleet.Service{{Name: "plain", Exec: "/opt/p"},
			{Name: "door", Exec: "/opt/p", Listen: []string{"80"}}},
			Intervals: []fleet.Interval{{Name: "i", Exec: "/opt/p", Every: schema.Duration(60e9)}}})
		m.elsewhere("c", "solaris/amd64", "pkg")
		m.checkWarnings(t, "hosts/r.cue:2:9: packages for solaris/amd64 leave out the interval i of plugin p, on host c: "+
			"intervals are not made for solaris")
		m.checkWarnings(t, "packages for solaris/amd64 leave out the service door of plugin p, on host c: "+
			"what is started for each connection (listen) is not made for solaris")
	})
	t.Run("services that the platform does not start", func(t *testing.T) {
		m := newModel()
		m.always("p", sample())
		m.elsewhere("c", "aix/ppc64", "tgz")
		m.checkWarnings(t, "hosts/r.cue:2:9: packages for aix/ppc64 leave out services, on host c: "+
			"they are made for systemd, launchd and SMF only")
	})
}

// elsewhere adds a host of another platform, in the folder "more".
func (m *model) elsewhere(name, platform, format string) {
	h := m.host("more", name, at(2, 9))
	h.Attributes = map[string]fleet.Value{fleet.AttrPlatform: jsonOf(platform), fleet.AttrFormat: jsonOf(format)}
}

func TestPlatformsCountsHosts(t *testing.T) {
	m := newModel()
	m.elsewhere("c", "aix/ppc64", "tgz")
	m.elsewhere("d", "linux/arm", "deb")
	m.Hosts[3].Retired = true
	got := Platforms(m.Fleet)
	if len(got) != 2 || got[schema.Platform{OS: "linux", Arch: "amd64"}] != 2 ||
		got[schema.Platform{OS: "aix", Arch: "ppc64"}] != 1 {
		t.Errorf("got %v", got)
	}
}

// It is a mistake, where a platform that no package is made for yet is none.
func TestAFormatThatAPlatformHasNotIsAnErrorWhereItIsSet(t *testing.T) {
	for _, c := range [][3]string{
		{"solaris/amd64", "rpm",
			`host c has the format rpm, which is not made for solaris/amd64: set its format to "pkg" or "tgz"`},
		{"linux/mips", "deb", `host c has the format deb, which is not made for linux/mips: set its format to "tgz"`},
		{"linux/amd64", "pkg",
			`host c has the format pkg, which is not made for linux/amd64: set its format to "deb" or "rpm" or "tgz"`},
		{"darwin/arm64", "tgz", ""},
	} {
		m := newModel()
		m.elsewhere("c", c[0], c[1])
		format := m.Hosts[2].Attributes[fleet.AttrFormat]
		format.Pos = fleet.Pos{File: "hosts/f.cue", Line: 7, Col: 3}
		m.Hosts[2].Attributes[fleet.AttrFormat] = format
		_, err := Resolve(t.Context(), m.Fleet, m)
		got := ""
		var ps fleet.Problems
		if errors.As(err, &ps) {
			if got = ps[0].Msg + ": " + ps[0].Hint; ps[0].Pos != format.Pos {
				t.Errorf("%v: at %s", c, ps[0].Pos)
			}
		}
		if got != c[2] {
			t.Errorf("%v:\n%s", c, got)
		}
	}
}
