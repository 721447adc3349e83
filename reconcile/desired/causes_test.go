package desired

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/plan"
)

// repo is a fleet of one host, in which each cause of a change can be tried alone.
var repo = map[string]string{
	"fleet.cue": `package fleet
name: "f"
url: "https://a.example"
programs: "linux/amd64": {version: "1", sha256: "sha256:` + strings.Repeat("1", 64) + `"}
`,
	"hosts/hosts.cue": `package hosts
defaults: {platform: "linux/amd64", format: "deb"}
hosts: a: address: "192.0.2.1"
`,
	"hosts/rules.cue": `package hosts
rules: p: [
	{value: text: "one"},
]
rules: r: [{value: list: ["w"]}, {value: list: ["x"]}]
rules: updater: [{value: {}}]
`,
	"plugins/p/plugin.cue": `package p
plugin: {
	host: address: string
	params: {text: string | *"none", extra: string | *"x"}
	files: "/etc/p": content: "\(params.text) \(params.extra) \(host.address)"
	files: "/usr/bin/p": {source: "p.sh", mode: 0o755}
}
`,
	"plugins/p/p.sh": "true\n",
	"plugins/r/plugin.cue": `package r
import "strings"
plugin: {
	combine: "append"
	params: list: [...string]
	files: "/etc/r": content: strings.Join(params.list, " ")
}
`,
	"plugins/q/plugin.cue": `package q
plugin: files: "/etc/q": content: "q"
`,
}

// side is a state of the repo, published as it is.
func side(t *testing.T, files map[string]string) plan.Side {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, text := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	state := State{Files: fsys}
	if err := state.Evaluate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := plan.Side{Hosts: map[string]plan.Published{}, Resolved: state.Resolved, Files: fsys, Policy: state.Policy()}
	for name, wanted := range state.Hosts {
		s.Hosts[name] = plan.Published{Desired: wanted}
	}
	return s
}

func TestTheLineThatCausesAChangeIsNamed(t *testing.T) {
	before := side(t, repo)
	edit := func(file, old, text string) func(map[string]string) {
		return func(files map[string]string) {
			if !strings.Contains(files[file], old) {
				t.Fatalf("%s has no %q", file, old)
			}
			files[file] = strings.Replace(files[file], old, text, 1)
		}
	}
	for name, c := range map[string]struct {
		edit func(map[string]string)
		want []string
	}{
		"a parameter has another value": {edit("hosts/rules.cue", `"one"`, `"two"`),
			[]string{"p: p.text hosts/rules.cue:3:10"}},
		"a parameter is set anew": {edit("hosts/rules.cue", `text: "one"`, `{text: "one", extra: "y"}`),
			[]string{"p: p.extra hosts/rules.cue:3:24"}},
		"a parameter is not set any more": {edit("hosts/rules.cue", `text: "one"`, `{}`),
			[]string{"p: p.text hosts/rules.cue:3:10 (before)"}},
		"a stronger rule comes in": {func(files map[string]string) {
			files["hosts/hosts.cue"] = strings.Replace(files["hosts/hosts.cue"], `hosts: a: address`,
				"hosts: a: set: p: text: \"own\"\nhosts: a: address", 1)
		}, []string{"p: p.text hosts/hosts.cue:3:19"}},
		"the plugin's CUE differs": {edit("plugins/p/plugin.cue", `content: "`, `content: "# `),
			[]string{"p: file plugins/p/plugin.cue"}},
		"a file that it ships differs": {edit("plugins/p/p.sh", "true", "false"), []string{"p: file plugins/p/p.sh"}},
		"a field of the host that it uses": {edit("hosts/hosts.cue", "192.0.2.1", "192.0.2.2"),
			[]string{"p: host's address hosts/hosts.cue:3:8"}},
		"a plugin comes in": {edit("hosts/rules.cue", "rules: updater", "rules: q: [{value: {}}]\nrules: updater"),
			[]string{"q: rule for q hosts/rules.cue:6:12"}},
		"a plugin is turned off": {edit("hosts/rules.cue", `text: "one"`, `enabled: false`),
			[]string{"p: rule for p hosts/rules.cue:3:2 (before)"}},
		"the host program": {edit("fleet.cue", `version: "1"`, `version: "2"`),
			[]string{"updater: pinned host program fleet.cue:4:11"}},
		"the host program, beside another cause in another plugin": {func(files map[string]string) {
			edit("fleet.cue", `version: "1"`, `version: "2"`)(files)
			edit("hosts/rules.cue", `"one"`, `"two"`)(files)
		}, []string{"p: p.text hosts/rules.cue:3:10", "updater: pinned host program fleet.cue:4:11"}},
		"the fleet's URL": {edit("fleet.cue", "a.example", "b.example"), []string{"updater: fleet's url fleet.cue"}},
		"the format by the folder's defaults": {edit("hosts/hosts.cue", `format: "deb"`, `format: "tgz"`),
			[]string{": format hosts/hosts.cue:2:37"}},
		"the ring by rollout.cue": {func(files map[string]string) {
			files["rollout.cue"] = "package fleet\nrollout: rings: [{name: \"late\"}]\n"
		}, []string{": ring rollout.cue:2:18"}},
		"a host comes": {edit("hosts/hosts.cue", `hosts: a: address`, "hosts: b: address: \"192.0.2.9\"\nhosts: a: address"),
			[]string{": host added hosts/hosts.cue", "p: rule for p hosts/rules.cue:3:2", "r: rule for r hosts/rules.cue:5:12",
				"updater: rule for updater hosts/rules.cue:6:18"}},
		"a host is retired": {edit("hosts/hosts.cue", `hosts: a: address`, "hosts: a: state: \"retired\"\nhosts: a: address"),
			[]string{": host retired hosts/hosts.cue:4:11"}},
		"a host is renamed": {edit("hosts/hosts.cue", `hosts: a: address`, "hosts: b: was: [\"a\"]\nhosts: b: address"),
			[]string{": host added hosts/hosts.cue", ": host renamed to b hosts/hosts.cue:4:11"}},
		"a rule appends to a list": {edit("hosts/rules.cue", `{value: list: ["x"]}`,
			`{value: list: ["x"]}, {value: list: ["y"]}`),
			[]string{"r: r.list hosts/rules.cue:5:71"}},
		"one of the rules appends another item": {edit("hosts/rules.cue", `list: ["x"]`, `list: ["x", "y"]`),
			[]string{"r: r.list hosts/rules.cue:5:54"}},
		"one of the rules changes an item": {edit("hosts/rules.cue", `list: ["x"]`, `list: ["z"]`),
			[]string{"r: r.list hosts/rules.cue:5:49"}},
		"an item comes that another rule has too": {edit("hosts/rules.cue", `list: ["x"]`, `list: ["x", "w"]`),
			[]string{"r: r.list hosts/rules.cue:5:54"}},
		"rules change places": {edit("hosts/rules.cue", `{value: list: ["w"]}, {value: list: ["x"]}`,
			`{value: list: ["x"]}, {value: list: ["w"]}`),
			[]string{"r: r.list hosts/rules.cue:5:20", "r: r.list hosts/rules.cue:5:42"}},
		"a rule appends no more": {edit("hosts/rules.cue", `{value: list: ["w"]}, `, ``),
			[]string{"r: r.list hosts/rules.cue:5:27 (before)"}},
		"a host goes": {func(files map[string]string) {
			files["hosts/hosts.cue"] = strings.Replace(files["hosts/hosts.cue"], "hosts: a:", "hosts: b:", 1)
		}, []string{": host added hosts/hosts.cue", ": host removed hosts/hosts.cue (before)"}},
	} {
		files := maps.Clone(repo)
		c.edit(files)
		after := side(t, files)
		wanted := map[string]plan.Desired{}
		for name, p := range after.Hosts {
			wanted[name] = p.Desired
		}
		r := plan.Build(before, after, plan.Diff(before.Hosts, wanted))
		var got []string
		for _, g := range r.Groups {
			for _, cause := range g.Causes {
				at := cause.At.String()
				if cause.Gone {
					at += " (before)"
				}
				got = append(got, cause.Plugin+": "+cause.What+" "+at)
			}
		}
		slices.Sort(got)
		if !slices.Equal(slices.Compact(got), c.want) {
			t.Errorf("%s:\n%q, want\n%q", name, got, c.want)
		}
	}
}
