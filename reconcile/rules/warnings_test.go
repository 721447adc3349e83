package rules

import (
	"maps"
	"strings"
	"testing"
)

func TestWarningsNameRulesWithoutEffect(t *testing.T) {
	for name, c := range map[string]struct{ rules, want string }{
		"an empty list of hosts":       {`{when: hosts: [], value: text: "y"}`, "hosts/r.cue:2:12: this rule for p can never match: an empty list matches nothing"},
		"an empty list in a group":     {`{when: all: [{tags: a: []}], value: text: "y"}`, "this rule for p can never match: an empty list matches nothing"},
		"a host that is not there":     {`{when: hosts: ["c"], value: text: "y"}`, `this rule for p can never match: there is no host "c"`},
		"a label that no host has":     {`{when: labels: x: "y", value: text: "y"}`, "hosts/r.cue:2:12: this rule for p matches none of the hosts that it reaches, 3 in all"},
		"a rule below one that is all": {`{value: text: "y"}, {when: hosts: ["a"], value: text: "z"}`, "hosts/r.cue:2:32: this rule for p is shadowed: on each of its hosts, stronger rules set all that it sets (see also hosts/r.cue:2:12)"},
		"a second rule without values": {`{value: {}}, {value: {}}`, "hosts/r.cue:2:25: this rule for p is shadowed"},
		// What has an effect on some host is not warned of.
		"a rule for one host before all": {`{when: hosts: ["~a"], value: text: "y"}, {value: text: "z"}`, ""},
		"a rule that is disabled":        {`{disabled: true, when: hosts: [], value: text: "y"}, {value: {}}`, ""},
		"one host of two":                {`{when: hosts: ["c", "a"], value: text: "y"}`, ""},
		"none of nothing":                {`{when: hosts: not: [], value: text: "y"}`, ""},
		"the last resort of one host":    {`{when: hosts: ["a"], value: text: "y"}, {when: hosts: ["a", "b"], value: text: "z"}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := withPlugin()
			files["hosts/r.cue"] = "package hosts\nrules: p: [" + c.rules + "]\n"
			files["hosts/web/h.cue"] = "package web\nhosts: d: {}\n"
			checkWarnings(t, files, c.want)
		})
	}
	t.Run("a host elsewhere is named with its place", func(t *testing.T) {
		files := withPlugin()
		files["hosts/web/h.cue"] = "package web\nhosts: d: {}\nrules: p: [{when: hosts: [\"a\"], value: {}}]\n"
		checkWarnings(t, files, `hosts/web/h.cue:3:12: this rule for p can never match: host a is not in or below folder "web" (see also hosts/hosts.cue:3:9)`)
	})
	t.Run("a folder beside", func(t *testing.T) {
		files := withPlugin()
		files["hosts/web/h.cue"] = "package web\nhosts: d: {}\nrules: p: [{when: folder: \"db\", value: {}}]\n"
		files["hosts/db/h.cue"] = "package db\n"
		checkWarnings(t, files, `this rule for p can never match: it reaches only hosts in and below folder "web"`)
	})
	t.Run("an attribute that the hosts themselves set", func(t *testing.T) {
		checkWarnings(t, map[string]string{"hosts/r.cue": "package hosts\nhosts: {[string]: ring: \"all\"}\nrules: host: [{value: ring: \"all\"}]\n"}, "hosts/r.cue:3:15: this rule for host is shadowed")
	})
	t.Run("lists that are appended all count", func(t *testing.T) {
		checkWarnings(t, map[string]string{"plugins/p/plugin.cue": "package p\nplugin: {combine: \"append\", params: l: [...string]}\n",
			"hosts/r.cue": "package hosts\nrules: p: [{value: l: [\"a\"]}, {value: l: [\"b\"]}]\n"}, "")
	})
}

func TestWarningsNameHostsWithoutRingOrSiteOncePerFolder(t *testing.T) {
	files := map[string]string{
		"rollout.cue":     "package fleet\nrollout: rings: [{name: \"x\", when: hosts: [\"~a\"]}]\n",
		"hosts/web/h.cue": "package web\ndefaults: site: \"muc\"\nhosts: {c: {}, d: {}, e: ring: \"x\"}\n",
		"sites/s.cue":     "package sites\nsites: muc: url: \"https://muc\"\n",
	}
	checkWarnings(t, files, `hosts/hosts.cue:3:9: host a (and 1 more of its folder) is given no site and belongs to central
hosts/hosts.cue:3:16: host b is in no ring, so it gets no updates
hosts/web/h.cue:3:9: host c (and 1 more of its folder) is in no ring, so it gets no updates`)
	delete(files, "sites/s.cue")
	files["hosts/web/h.cue"] = "package web\n"
	checkWarnings(t, files, "hosts/hosts.cue:3:16: host b is in no ring, so it gets no updates")
}

// checkWarnings wants the warnings to hold that text, or none at all.
func checkWarnings(t *testing.T, files map[string]string, want string) {
	t.Helper()
	r, err := resolved(t, maps.Clone(files))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range r.Warnings {
		got = append(got, p.Error())
	}
	if text := strings.Join(got, "\n"); (want == "") != (text == "") || !strings.Contains(text, want) {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}
