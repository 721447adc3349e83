package rules

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"bakehouse/reconcile/evaluate"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// resolved is a repo of two hosts, with further files.
func resolved(t *testing.T, files map[string]string) (*Resolved, error) {
	t.Helper()
	m := fstest.MapFS{
		"fleet.cue":       {Data: []byte("package fleet\nname: \"n\"\nurl: \"https://u\"\n")},
		"hosts/hosts.cue": {Data: []byte("package hosts\ndefaults: {platform: \"linux/amd64\", format: \"deb\"}\nhosts: {a: {}, b: {}}\n")},
	}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text)}
	}
	f, err := evaluate.Load(t.Context(), m, nil)
	if err != nil {
		t.Fatalf("load:\n%v", err)
	}
	return Resolve(t.Context(), f.Fleet, f)
}

func one(t *testing.T, files map[string]string) *Recipe {
	t.Helper()
	r, err := resolved(t, files)
	if err != nil {
		t.Fatal(err)
	}
	return r.Hosts["a"].Recipe
}

const plugin = "package p\nplugin: {\n\thost: HOST\n\tparams: text: string | *\"x\"\n\tfiles: \"/f\": FILE\n\tservices: s: exec: \"/bin/s\"\n\tscripts: postinst: \"true\"\n\thealth: command: [\"/bin/h\"]\n}\n"

func withPlugin(edits ...string) map[string]string {
	text := strings.NewReplacer(append(edits, "HOST", "{}", "FILE", "content: params.text")...).Replace(plugin)
	return map[string]string{"plugins/p/plugin.cue": text, "hosts/r.cue": "package hosts\nrules: p: [{value: {}}]\n"}
}

// more is the plugin with further lines.
func more(lines string) map[string]string {
	return withPlugin("\tscripts:", "\t"+lines+"\n\tscripts:")
}

func TestARecipeIsNamedByAllThatIsInIt(t *testing.T) {
	base := one(t, withPlugin())
	seen := map[schema.RecipeID]string{base.ID: "the base"}
	for name, files := range map[string]map[string]string{
		"another content":    withPlugin(`*"x"`, `*"y"`),
		"another path":       withPlugin(`"/f"`, `"/g"`),
		"another mode":       withPlugin("FILE", "{content: params.text, mode: 0o600}"),
		"another command":    withPlugin("/bin/s", "/bin/t"),
		"another script":     withPlugin(`"true"`, `"false"`),
		"another check":      withPlugin("/bin/h", "/bin/i"),
		"another limit":      withPlugin(`["/bin/h"]`, `["/bin/h"], health: within: "5s"`),
		"another owner":      withPlugin("FILE", "{content: params.text, owner: \"u\"}"),
		"another group":      withPlugin("FILE", "{content: params.text, group: \"u\"}"),
		"another step":       withPlugin("postinst", "posttrans"),
		"another run-as":     more(`services: s: user: "u"`),
		"a listener":         more(`services: s: listen: ["6556"]`),
		"who may connect":    more(`services: s: {listen: ["6556"], allow: ["10.0.0.0/8"]}`),
		"a user":             more(`users: u: {}`),
		"another user":       more(`users: u: home: "/srv"`),
		"a user's group":     more(`users: u: groups: ["g"]`),
		"a group":            more(`groups: ["g"]`),
		"an interval":        more(`intervals: i: {exec: "/bin/i", every: "1h"}`),
		"another interval":   more(`intervals: i: {exec: "/bin/i", every: "2h"}`),
		"an interval's file": more(`intervals: i: {exec: "/bin/i", every: "1h", output: "/var/cache/a/b"}`),
		"a dependency":       more(`relations: depends: ["xy"]`),
		"another version":    more(`relations: depends: ["xy >= 1"]`),
		"a dependency's or":  more(`relations: deb: depends: ["xy | yz"]`),
		"a conflict":         more(`relations: conflicts: ["xy"]`),
		"for rpm":            more(`relations: rpm: depends: ["xy"]`),
		"no plugin":          {},
		"another platform":   {"plugins/p/plugin.cue": withPlugin()["plugins/p/plugin.cue"], "hosts/r.cue": "package hosts\nrules: p: [{value: {}}]\nhosts: a: platform: \"linux/arm64\"\n"},
		"a program":          withPlugin("FILE", "program: true"),
		"the anchor's bytes": {"trust/1.root.json": "{\"a\":1}", "hosts/r.cue": "package hosts\nrules: updater: [{value: {}}]\n"},
		"another anchor":     {"trust/1.root.json": "{\"a\":2}", "hosts/r.cue": "package hosts\nrules: updater: [{value: {}}]\n"},
	} {
		id := one(t, files).ID
		if other, ok := seen[id]; ok || !id.Valid() {
			t.Errorf("%s has the recipe %q of %s", name, id, other)
		}
		seen[id] = name
	}
	// What is written differently and yields the same is the same.
	for name, files := range map[string]map[string]string{
		"again":                 withPlugin(),
		"a default set by hand": {"plugins/p/plugin.cue": withPlugin()["plugins/p/plugin.cue"], "hosts/r.cue": "package hosts\nrules: p: [{value: text: \"x\"}]\n"},
		"a label that nothing asks for": {"plugins/p/plugin.cue": withPlugin()["plugins/p/plugin.cue"],
			"hosts/r.cue": "package hosts\nrules: p: [{value: {}}]\nhosts: a: labels: x: \"y\"\n"},
	} {
		if id := one(t, files).ID; id != base.ID {
			t.Errorf("%s: recipe %s, want %s", name, id, base.ID)
		}
	}
}

func TestHostsAlikeShareARecipeUnlessThePluginAsksWhoTheyAre(t *testing.T) {
	r, err := resolved(t, withPlugin())
	if err != nil || r.Hosts["a"].Recipe != r.Hosts["b"].Recipe {
		t.Errorf("%v: two recipes for hosts alike", err)
	}
	r, err = resolved(t, withPlugin("HOST", "{name: string}", "FILE", "content: host.name"))
	if err != nil || r.Hosts["a"].Recipe == r.Hosts["b"].Recipe {
		t.Errorf("%v: one recipe for hosts whose files differ", err)
	}
}

func TestTwoPluginsCannotHaveOnePlace(t *testing.T) {
	for name, c := range map[string]struct{ first, second, want string }{
		"a file":               {`files: "/etc/x": content: "1"`, `files: "/etc/x": content: "2"`, "plugins p and q both have the file /etc/x"},
		"the same bytes":       {`files: "/etc/x": content: "1"`, `files: "/etc/x": content: "1"`, "plugins p and q both have the file /etc/x"},
		"a service":            {`services: s: exec: "/x"`, `services: s: exec: "/y"`, "plugins p and q both have the service s"},
		"a file and a folder":  {`files: "/etc/x": content: "1"`, `files: "/etc/x/y": content: "2"`, "/etc/x is a file and cannot hold /etc/x/y"},
		"a file, deeper below": {`files: "/etc/x/y/z": content: "1"`, `files: "/etc/x": content: "2"`, "/etc/x is a file and cannot hold /etc/x/y/z"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := resolved(t, map[string]string{
				"plugins/p/plugin.cue": "package p\nplugin: " + c.first + "\n", "plugins/q/plugin.cue": "package q\nplugin: " + c.second + "\n",
				"hosts/r.cue": "package hosts\nrules: {p: [{value: {}}], q: [{value: {}}]}\n",
			})
			var ps fleet.Problems
			if !errors.As(err, &ps) || len(ps) != 1 || !strings.Contains(ps[0].Msg, c.want) || len(ps[0].Also) != 1 || ps[0].Pos.File == ps[0].Also[0].File {
				t.Errorf("got %v, want one problem that names both places: %s", err, c.want)
			}
		})
	}
	// Neighbours are no conflict, and neither are plugins that no host has both of.
	if _, err := resolved(t, map[string]string{
		"plugins/p/plugin.cue": "package p\nplugin: files: {\"/etc/x\": content: \"\", \"/etc/xy/z\": content: \"\"}\n",
		"plugins/q/plugin.cue": "package q\nplugin: files: \"/etc/x\": content: \"\"\n",
		"hosts/r.cue":          "package hosts\nrules: {p: [{when: hosts: [\"a\"], value: {}}], q: [{when: hosts: {not: [\"a\"]}, value: {}}]}\n",
	}); err != nil {
		t.Error(err)
	}
}

func TestDisablingAPluginTakesItOut(t *testing.T) {
	files := withPlugin()
	files["hosts/r.cue"] = "package hosts\nrules: p: [{when: hosts: [\"b\"], value: enabled: false}, {value: text: \"y\"}]\n"
	r, err := resolved(t, files)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := r.Hosts["a"].Recipe, r.Hosts["b"].Recipe; len(a.Outputs) != 1 || len(b.Outputs) != 0 || !b.ID.Valid() {
		t.Errorf("a has %d plugins and b %d", len(a.Outputs), len(b.Outputs))
	}
}

func TestRingsAndSelection(t *testing.T) {
	r, err := resolved(t, map[string]string{
		"rollout.cue": "package fleet\nrollout: {enabled: true, select: hosts: {not: [\"c\"]}, rings: [{name: \"first\", when: hosts: [\"~[ac]\"]}, {name: \"later\", delay: \"1d\", when: hosts: [\"b\"]}]}\n",
		"hosts/r.cue": "package hosts\nhosts: {c: ring: \"later\", d: {}}\n",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		ring     string
		selected bool
	}{"a": {"first", true}, "b": {"later", true}, "c": {"later", false}, "d": {"", true}} {
		if h := r.Hosts[name]; h.Ring != want.ring || h.Selected != want.selected {
			t.Errorf("%s: ring %q, selected %v", name, h.Ring, h.Selected)
		}
	}
}

func TestWhatIsMissingForPackagesIsNamed(t *testing.T) {
	r, err := resolved(t, map[string]string{"hosts/r.cue": "package hosts\nrules: updater: [{value: {}}]\n"})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Missing.Error(); len(r.Missing) != 3 || !strings.Contains(got, "bakehouse root init") || !strings.Contains(got, "bakehouse key create") || !strings.Contains(got, "bakehouse upgrade") {
		t.Errorf("got\n%s", got)
	}
}

func TestAHostThatIsNotThereIsNotExplained(t *testing.T) {
	f, err := evaluate.Load(t.Context(), fstest.MapFS{"fleet.cue": {Data: []byte("package fleet\nname: \"n\"\nurl: \"https://u\"\n")}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Explain(t.Context(), f.Fleet, f, "x"); !errors.Is(err, ErrNoHost) {
		t.Errorf("got %v", err)
	}
}

func TestARetiredHostIsListedButHasNoPackage(t *testing.T) {
	// It lacks what other hosts need, and nothing asks for it.
	r, err := resolved(t, map[string]string{"hosts/old/h.cue": "package old\nhosts: gone: {state: \"retired\", was: [\"ancient\"], set: updater: {}}\nhosts: stays: state: \"active\"\n"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Hosts["gone"] != nil || r.Hosts["stays"] == nil || len(r.Retired) != 1 || r.Retired[0].Name != "gone" || r.Retired[0].Was[0] != "ancient" {
		t.Errorf("hosts %v, retired %v", r.Hosts, r.Retired)
	}
	if e, err := Explain(t.Context(), r.Fleet, nil, "gone"); err != nil || !e.Retired || e.Recipe != "" {
		t.Errorf("explained as %+v, %v", e, err)
	}
}
