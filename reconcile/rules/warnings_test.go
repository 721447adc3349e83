package rules

import (
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestWarningsNameRulesWithoutEffect(t *testing.T) {
	y, z := set("text", "y"), set("text", "z")
	for name, c := range map[string]struct {
		rules []fleet.Rule
		want  string
	}{
		"an empty list of hosts": {[]fleet.Rule{{When: hosts(false), Value: y}},
			"hosts/r.cue:1:1: this rule for p can never match: an empty list matches nothing"},
		"an empty list in a group": {[]fleet.Rule{
			{When: fleet.When{All: []*fleet.When{{Tags: map[string]fleet.Match{"a": {}}}}}, Value: y}},
			"this rule for p can never match: an empty list matches nothing"},
		"a host that is not there": {[]fleet.Rule{{When: hosts(false, "c"), Value: y}},
			`this rule for p can never match: there is no host "c"`},
		"a label that no host has": {[]fleet.Rule{
			{When: fleet.When{Labels: map[string]fleet.Match{"x": {Any: []string{"y"}}}}, Value: y}},
			"hosts/r.cue:1:1: this rule for p matches none of the hosts that it reaches, 3 in all"},
		"a rule below one that is all": {[]fleet.Rule{{Value: y}, {When: hosts(false, "a"), Value: z}},
			"hosts/r.cue:2:1: this rule for p is shadowed: on each of its hosts, stronger rules set all that it sets " +
				"(see also hosts/r.cue:1:1)"},
		"a second rule without values": {[]fleet.Rule{{}, {}}, "hosts/r.cue:2:1: this rule for p is shadowed"},
		// What has an effect on some host is not warned of.
		"a rule for one host before all": {[]fleet.Rule{{When: hosts(false, "~a"), Value: y}, {Value: z}}, ""},
		"a rule that is disabled":        {[]fleet.Rule{{Disabled: true, When: hosts(false), Value: y}, {}}, ""},
		"one host of two":                {[]fleet.Rule{{When: hosts(false, "c", "a"), Value: y}}, ""},
		"none of nothing":                {[]fleet.Rule{{When: hosts(true), Value: y}}, ""},
		"the last resort of one host": {[]fleet.Rule{{When: hosts(false, "a"), Value: y},
			{When: hosts(false, "a", "b"), Value: z}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel()
			m.host("web", "d", fleet.Pos{})
			for i, r := range c.rules {
				r.Pos = at(i+1, 1)
				m.rule("", "p", r)
			}
			m.checkWarnings(t, c.want)
		})
	}
	t.Run("a host elsewhere is named with its place", func(t *testing.T) {
		m := newModel()
		m.host("web", "d", fleet.Pos{})
		m.rule("web", "p", fleet.Rule{When: hosts(false, "a"), Pos: at(3, 12)})
		m.checkWarnings(t, `hosts/r.cue:3:12: this rule for p can never match: host a is not in or below folder "web" `+
			"(see also hosts/hosts.cue:3:9)")
	})
	t.Run("a folder beside", func(t *testing.T) {
		m := newModel()
		m.host("web", "d", fleet.Pos{})
		m.folder("db")
		m.rule("web", "p", fleet.Rule{When: fleet.When{Folder: &fleet.Match{Any: []string{"db"}}}})
		m.checkWarnings(t, `this rule for p can never match: it reaches only hosts in and below folder "web"`)
	})
	t.Run("an attribute that the hosts themselves set", func(t *testing.T) {
		m := newModel()
		for _, h := range m.Hosts {
			h.Attributes[fleet.AttrRing] = jsonOf("all")
		}
		m.rule("", fleet.HostAttributes, fleet.Rule{Value: set(fleet.AttrRing, "all"), Pos: at(3, 15)})
		m.checkWarnings(t, "hosts/r.cue:3:15: this rule for host is shadowed")
	})
	t.Run("a list that a stronger rule replaces on one host", func(t *testing.T) {
		for override, want := range map[bool]string{true: "",
			false: "hosts/r.cue:2:1: host a gets nothing of p.l of this rule: a stronger rule sets it " +
				"(see also hosts/r.cue:1:1)"} {
			m := newModel()
			m.rule("", "p", fleet.Rule{When: hosts(false, "a"), Value: set("l", []string{"a"}), Pos: at(1, 1),
				Override: override})
			m.rule("", "p", fleet.Rule{Value: set("l", []string{"b"}), Pos: at(2, 1)})
			m.checkWarnings(t, want)
		}
	})
	t.Run("a list that a host replaces by itself", func(t *testing.T) {
		m := newModel()
		m.Hosts[0].Set = map[string]*fleet.Rule{"p": {Value: set("l", []string{"a"})}}
		m.rule("", "p", fleet.Rule{Value: set("l", []string{"b"}), Pos: at(2, 1)})
		m.checkWarnings(t, "")
	})
	t.Run("of a struct by key, only the fields that both rules have", func(t *testing.T) {
		m := newModel()
		m.rule("", "p", fleet.Rule{When: hosts(false, "a"), Pos: at(1, 1),
			Value: set("s", map[string]int{"x": 1, "y": 2})})
		m.rule("", "p", fleet.Rule{Value: set("s", map[string]int{"y": 3, "z": 4}), Pos: at(2, 1)})
		m.Plugins["p"].Params = []fleet.Param{{Name: "s", ByKey: true}}
		m.checkWarnings(t, `hosts/r.cue:2:1: host a gets nothing of p.s: "y" of this rule: a stronger rule sets it `+
			"(see also hosts/r.cue:1:1)")
		m.Folders[""].Rules["p"][1].Value = set("s", map[string]int{"z": 4})
		m.checkWarnings(t, "")
	})
	t.Run("what a plugin warns of, once per rule and with the first host", func(t *testing.T) {
		m := newModel()
		m.plugin("p", func(fleet.Inputs, map[string]fleet.Value) fleet.Output {
			return fleet.Output{Warnings: []string{"w"}}
		})
		m.rule("", "p", fleet.Rule{Pos: at(2, 1)})
		m.checkWarnings(t, "hosts/r.cue:2:1: plugin p: w (host a)")
		if n := len(m.resolve(t).Warnings); n != 1 {
			t.Errorf("%d warnings", n)
		}
	})
	t.Run("lists that are appended all count", func(t *testing.T) {
		m := newModel()
		m.rule("", "p", fleet.Rule{Value: set("l", []string{"a"})})
		m.rule("", "p", fleet.Rule{Value: set("l", []string{"b"})})
		m.Plugins["p"].Combine = fleet.CombineAppend
		m.checkWarnings(t, "")
	})
}

func TestWarningsNameHostsWithoutRingOrSiteOncePerFolder(t *testing.T) {
	m := newModel()
	m.Rollout.Rings = []fleet.Ring{{Ring: schema.Ring{Name: "x"}, When: hosts(false, "~a")}}
	m.checkWarnings(t, "hosts/hosts.cue:3:16: host b is in no ring, so it gets no updates")
	m.Sites["muc"] = schema.Site{URL: "https://muc"}
	m.SitePos = map[string]fleet.Pos{"muc": {File: "sites/s.cue", Line: 2, Col: 8},
		"nyc": {File: "sites/s.cue", Line: 3, Col: 8}}
	m.folder("web").Defaults = set(fleet.AttrSite, "muc")
	for i, name := range []string{"c", "d", "e"} {
		m.host("web", name, fleet.Pos{File: "hosts/web/h.cue", Line: 3, Col: 9 + i})
	}
	m.Hosts[4].Attributes[fleet.AttrRing] = jsonOf("x")
	m.checkWarnings(t, `hosts/hosts.cue:3:9: host a (and 1 more of its folder) is given no site and belongs to central
hosts/hosts.cue:3:16: host b is in no ring, so it gets no updates
hosts/web/h.cue:3:9: host c (and 1 more of its folder) is in no ring, so it gets no updates
sites/s.cue:3:8: no host has site nyc`)
}

func TestAGateThatCannotOpenByItselfOrTooLateIsWarnedOf(t *testing.T) {
	m := newModel()
	gate := &schema.Gate{Healthy: schema.Whole, Hosts: 1, For: schema.Duration(2 * time.Hour)}
	m.Rollout.Rings = []fleet.Ring{{Ring: schema.Ring{Name: "x"}, When: hosts(false, "~a")},
		{Ring: schema.Ring{Name: "y", Gate: gate}, Pos: at(7, 3)}}
	m.checkWarnings(t, "")
	gate.Hosts = 2
	m.checkWarnings(t, "7:3: the gate of ring y asks for 2 hosts, and 1 are in the rings that it looks at: it opens "+
		"by bakehouse rollout promote alone")
	gate.Hosts, m.Rollout.MaxHold = 1, schema.Duration(2*time.Hour)
	m.checkWarnings(t, "7:3: the gate of ring y takes 2h0m0s, and maxHold is 2h0m0s: hosts report themselves critical")
}

// checkWarnings wants the warnings to hold that text, or none at all.
func (m *model) checkWarnings(t *testing.T, want string) {
	t.Helper()
	var got []string
	for _, p := range m.resolve(t).Warnings {
		got = append(got, p.Error())
	}
	if text := strings.Join(got, "\n"); (want == "") != (text == "") || !strings.Contains(text, want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestAThresholdThatAnyKeysMeetIsWarnedOf(t *testing.T) {
	for name, c := range map[string]struct {
		value map[string]any
		warns bool
	}{
		"no keys are named":      {map[string]any{"threshold": 2}, true},
		"the keys are named":     {map[string]any{"threshold": 2, "keys": []string{"ci", "reviewer"}}, false},
		"one signature is to do": {map[string]any{"threshold": 1}, false},
		"nothing is said":        {map[string]any{}, false},
	} {
		m := newModel()
		m.rule("", fleet.UpdaterPlugin, fleet.Rule{Value: valuesOf(c.value), Pos: at(1, 1)})
		warned := strings.Contains(m.resolve(t).Warnings.Error(), "threshold counts the signatures of any package keys")
		if warned != c.warns {
			t.Errorf("%s: warned %v", name, warned)
		}
	}
}
