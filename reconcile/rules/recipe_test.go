package rules

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// sample is an output with something of most kinds.
func sample() fleet.Output {
	return fleet.Output{Files: []fleet.File{inline("/f", "x")},
		Services: []fleet.Service{{Name: "s", Description: "s", Exec: "/bin/s", Restart: "always", Enable: true}},
		Scripts:  map[string]string{"postinst": "true"},
		Health:   &schema.HealthCheck{Plugin: "p", Command: []string{"/bin/h"}, Within: schema.Duration(30 * time.Second)}}
}

// recipe is what host a gets of a plugin that yields out.
func recipe(t *testing.T, out fleet.Output) *Recipe {
	t.Helper()
	m := newModel()
	m.always("p", out)
	return m.resolve(t).Hosts["a"].Recipe
}

func TestARecipeIsNamedByAllThatIsInIt(t *testing.T) {
	base := recipe(t, sample())
	seen := map[schema.RecipeID]string{base.ID: "the base"}
	named := func(name string, id schema.RecipeID) {
		t.Helper()
		if other, ok := seen[id]; ok || !id.Valid() {
			t.Errorf("%s has the recipe %q of %s", name, id, other)
		}
		seen[id] = name
	}
	for name, edit := range map[string]func(*fleet.Output){
		"another content": func(o *fleet.Output) { o.Files[0] = inline("/f", "y") },
		"another path":    func(o *fleet.Output) { o.Files[0].Path = "/g" },
		"another mode":    func(o *fleet.Output) { o.Files[0].Mode = 0o600 },
		"another owner":   func(o *fleet.Output) { o.Files[0].Owner = "u" },
		"another group":   func(o *fleet.Output) { o.Files[0].Group = "u" },
		"a program": func(o *fleet.Output) {
			o.Files[0] = fleet.File{Path: "/f", Mode: 0o644, Program: true, Size: -1}
		},
		"another command":    func(o *fleet.Output) { o.Services[0].Exec = "/bin/t" },
		"another run-as":     func(o *fleet.Output) { o.Services[0].User = "u" },
		"a listener":         func(o *fleet.Output) { o.Services[0].Listen = []string{"6556"} },
		"a socket's user":    func(o *fleet.Output) { o.Services[0].ListenUser = "u" },
		"who may connect":    func(o *fleet.Output) { o.Services[0].Allow = []string{"10.0.0.0/8"} },
		"another script":     func(o *fleet.Output) { o.Scripts["postinst"] = "false" },
		"another step":       func(o *fleet.Output) { o.Scripts = map[string]string{"posttrans": "true"} },
		"another check":      func(o *fleet.Output) { o.Health.Command[0] = "/bin/i" },
		"another limit":      func(o *fleet.Output) { o.Health.Within = schema.Duration(5 * time.Second) },
		"a user":             func(o *fleet.Output) { o.Users = []fleet.User{{Name: "u", Home: "/"}} },
		"another user":       func(o *fleet.Output) { o.Users = []fleet.User{{Name: "u", Home: "/srv"}} },
		"a user's group":     func(o *fleet.Output) { o.Users = []fleet.User{{Name: "u", Home: "/", Groups: []string{"g"}}} },
		"a group":            func(o *fleet.Output) { o.Groups = []string{"g"} },
		"an interval":        func(o *fleet.Output) { o.Intervals = []fleet.Interval{{Name: "i", Every: 1}} },
		"another interval":   func(o *fleet.Output) { o.Intervals = []fleet.Interval{{Name: "i", Every: 2}} },
		"an interval's file": func(o *fleet.Output) { o.Intervals = []fleet.Interval{{Name: "i", Every: 1, Output: "/a"}} },
		"a dependency":       func(o *fleet.Output) { o.Relations.All.Depends = []fleet.Relation{{Name: "xy"}} },
		"another version": func(o *fleet.Output) {
			o.Relations.All.Depends = []fleet.Relation{{Name: "xy", Op: ">=", Version: "1"}}
		},
		"a dependency's or": func(o *fleet.Output) {
			o.Relations.Deb.Depends = []fleet.Relation{{Name: "xy", Or: []fleet.Relation{{Name: "yz"}}}}
		},
		"a conflict": func(o *fleet.Output) { o.Relations.All.Conflicts = []fleet.Relation{{Name: "xy"}} },
		"for rpm":    func(o *fleet.Output) { o.Relations.RPM.Depends = []fleet.Relation{{Name: "xy"}} },
	} {
		o := sample()
		edit(&o)
		named(name, recipe(t, o).ID)
	}
	named("no plugin", newModel().resolve(t).Hosts["a"].Recipe.ID)
	m := newModel()
	m.always("p", sample())
	m.Hosts[0].Attributes[fleet.AttrPlatform] = jsonOf("linux/arm64")
	named("another platform", m.resolve(t).Hosts["a"].Recipe.ID)
	m = newModel()
	m.always("q", sample())
	named("another plugin", m.resolve(t).Hosts["a"].Recipe.ID)
}

func TestWhatYieldsTheSameHasOneRecipe(t *testing.T) {
	base := recipe(t, sample())
	yields := func(_ fleet.Inputs, params map[string]fleet.Value) fleet.Output {
		o := sample()
		o.Files[0] = inline("/f", text(params))
		return o
	}
	for name, edit := range map[string]func(*model){
		"again": func(m *model) { m.rule("", "p", fleet.Rule{}) },
		"a default that a rule sets": func(m *model) {
			m.rule("", "p", fleet.Rule{Value: set("text", "x")})
		},
		"a label that nothing asks for": func(m *model) {
			m.rule("", "p", fleet.Rule{})
			m.Hosts[0].Labels = map[string]string{"x": "y"}
		},
		"elsewhere in the plugin": func(m *model) {
			m.rule("", "p", fleet.Rule{})
			m.plugin("p", func(in fleet.Inputs, params map[string]fleet.Value) fleet.Output {
				o := yields(in, params)
				o.Files[0].Pos = at(1, 1)
				return o
			})
		},
	} {
		m := newModel()
		m.plugin("p", yields)
		edit(m)
		if id := m.resolve(t).Hosts["a"].Recipe.ID; id != base.ID {
			t.Errorf("%s: recipe %s, want %s", name, id, base.ID)
		}
	}
}

func TestHostsAlikeShareARecipeUnlessThePluginAsksWhoTheyAre(t *testing.T) {
	for _, asks := range []bool{false, true} {
		m := newModel()
		m.always("p", fleet.Output{})
		m.plugin("p", func(in fleet.Inputs, _ map[string]fleet.Value) fleet.Output {
			return fleet.Output{Files: []fleet.File{inline("/f", in.Host["name"])}}
		})
		if asks {
			m.Plugins["p"].Reads = map[string][]string{"host": {"name"}}
		}
		r := m.resolve(t)
		if (r.Hosts["a"].Recipe == r.Hosts["b"].Recipe) == asks {
			t.Errorf("a plugin that asks (%v) makes the recipes %s and %s", asks, r.Hosts["a"].Recipe.ID, r.Hosts["b"].Recipe.ID)
		}
	}
}

func TestAPlaceHasOneName(t *testing.T) {
	for path, real := range map[string]string{"/lib/udev/rules.d/x": "/usr/lib/udev/rules.d/x", "/bin/x": "/usr/bin/x",
		"/sbin/x": "/usr/sbin/x", "/lib64/x.so": "/usr/lib64/x.so",
		"/library/x": "", "/srv/bin/x": "", "/usr/lib/x": ""} {
		m := newModel()
		m.always("p", fleet.Output{Files: []fleet.File{inline(path, "")}})
		_, err := Resolve(t.Context(), m.Fleet, m)
		var ps fleet.Problems
		switch {
		case real == "" && err != nil:
			t.Errorf("%s: %v", path, err)
		case real != "" && (!errors.As(err, &ps) || !strings.Contains(ps[0].Msg, "another name of "+real)):
			t.Errorf("%s: %v, want that it is %s", path, err, real)
		}
	}
}

func TestTwoPluginsCannotHaveOnePlace(t *testing.T) {
	file := func(path, content string) fleet.Output {
		return fleet.Output{Files: []fleet.File{inline(path, content)}}
	}
	service := func(exec string) fleet.Output {
		return fleet.Output{Services: []fleet.Service{{Name: "s", Exec: exec}}}
	}
	for name, c := range map[string]struct {
		first, second fleet.Output
		want          string
	}{
		"a file":         {file("/etc/x", "1"), file("/etc/x", "2"), "plugins p and q both have the file /etc/x"},
		"the same bytes": {file("/etc/x", "1"), file("/etc/x", "1"), "plugins p and q both have the file /etc/x"},
		"a service":      {service("/x"), service("/y"), "plugins p and q both have the service s"},
		"a unit that hides another": {service("/x"), file("/etc/systemd/system/s.service", "1"),
			"/etc/systemd/system/s.service is a unit of service s"},
		"a socket of a service": {service("/x"), file("/usr/local/lib/systemd/system/s.socket", "1"),
			"/usr/local/lib/systemd/system/s.socket is a unit of service s"},
		"an instance of a service": {service("/x"), file("/etc/systemd/system/s@.service", "1"),
			"/etc/systemd/system/s@.service is a unit of service s"},
		"a file and a folder": {file("/etc/x", "1"), file("/etc/x/y", "2"),
			"/etc/x is a file and cannot hold /etc/x/y"},
		"a file, deeper below": {file("/etc/x/y/z", "1"), file("/etc/x", "2"),
			"/etc/x is a file and cannot hold /etc/x/y/z"},
		"a link and what lies below": {fleet.Output{Files: []fleet.File{fleet.SymbolicLink("/etc/x", "y")}},
			file("/etc/x/y", "2"), "/etc/x is a symbolic link and cannot hold /etc/x/y"},
		"a directory and a file": {fleet.Output{Files: []fleet.File{fleet.Directory("/etc/x", 0o755)}},
			file("/etc/x", ""), "plugins p and q both have the file /etc/x"},
		"a directory of two modes": {fleet.Output{Files: []fleet.File{fleet.Directory("/etc/x", 0o755)}},
			fleet.Output{Files: []fleet.File{fleet.Directory("/etc/x", 0o700)}},
			"plugins p and q both have the file /etc/x"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newModel()
			for plugin, out := range map[string]fleet.Output{"p": c.first, "q": c.second} {
				for i := range out.Files {
					out.Files[i].Pos.File = plugin
				}
				for i := range out.Services {
					out.Services[i].Pos.File = plugin
				}
				m.always(plugin, out)
			}
			_, err := Resolve(t.Context(), m.Fleet, m)
			var ps fleet.Problems
			if !errors.As(err, &ps) || len(ps) != 1 || !strings.Contains(ps[0].Msg, c.want) || len(ps[0].Also) != 1 ||
				ps[0].Pos.File == ps[0].Also[0].File {
				t.Errorf("got %v, want one problem that names both places: %s", err, c.want)
			}
		})
	}
	// Neighbours are no conflict, and neither are plugins that no host has both of.
	m := newModel()
	m.plugin("p", func(fleet.Inputs, map[string]fleet.Value) fleet.Output {
		return fleet.Output{Files: []fleet.File{inline("/etc/x", ""), inline("/etc/xy/z", ""),
			fleet.Directory("/etc/xy", 0o700)}}
	})
	m.plugin("q", func(fleet.Inputs, map[string]fleet.Value) fleet.Output { return file("/etc/x", "") })
	m.rule("", "p", fleet.Rule{When: hosts(false, "a")})
	m.rule("", "q", fleet.Rule{When: hosts(true, "a")})
	m.resolve(t)
}

func TestDisablingAPluginTakesItOut(t *testing.T) {
	m := newModel()
	m.rule("", "p", fleet.Rule{When: hosts(false, "b"), Value: set("enabled", false)})
	m.rule("", "p", fleet.Rule{Value: set("text", "y")})
	r := m.resolve(t)
	if a, b := r.Hosts["a"].Recipe, r.Hosts["b"].Recipe; len(a.Outputs) != 1 || len(b.Outputs) != 0 || !b.ID.Valid() {
		t.Errorf("a has %d plugins and b %d", len(a.Outputs), len(b.Outputs))
	}
}

func TestRingsAndSelection(t *testing.T) {
	m := newModel()
	m.Rollout = fleet.Rollout{Enabled: true, Select: hosts(true, "c"), Rings: []fleet.Ring{
		{Ring: schema.Ring{Name: "first"}, When: hosts(false, "~[ac]")},
		{Ring: schema.Ring{Name: "later", Delay: schema.Duration(24 * time.Hour)}, When: hosts(false, "b")}}}
	m.host("", "c", fleet.Pos{}).Attributes[fleet.AttrRing] = jsonOf("later")
	m.host("", "d", fleet.Pos{})
	r := m.resolve(t)
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
	m := newModel()
	m.always("updater", fleet.Output{Files: []fleet.File{{Path: "/f", Program: true, Size: -1}}})
	r := m.resolve(t)
	got := r.Missing.Error()
	for _, want := range []string{"bakehouse root init", "bakehouse key create", "bakehouse upgrade"} {
		if !strings.Contains(got, want) || len(r.Missing) != 3 {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestAHostThatIsNotThereIsNotExplained(t *testing.T) {
	m := newModel()
	if _, err := Explain(t.Context(), m.Fleet, m, "x"); !errors.Is(err, ErrNoHost) {
		t.Errorf("got %v", err)
	}
}

func TestARetiredHostIsListedButHasNoPackage(t *testing.T) {
	// It lacks what other hosts need, and nothing asks for it.
	m := newModel()
	gone := m.host("old", "gone", fleet.Pos{})
	gone.Retired, gone.Was, gone.Set = true, []string{"ancient"}, map[string]*fleet.Rule{fleet.UpdaterPlugin: {}}
	m.host("old", "stays", fleet.Pos{})
	r := m.resolve(t)
	if r.Hosts["gone"] != nil || r.Hosts["stays"] == nil || len(r.Retired) != 1 || r.Retired[0] != gone {
		t.Errorf("hosts %v, retired %v", slices.Collect(maps.Keys(r.Hosts)), r.Retired)
	}
	e, err := Explain(t.Context(), m.Fleet, m, "gone")
	if err != nil || !e.Retired || e.Recipe != "" || len(e.Was) != 1 {
		t.Errorf("explained as %+v, %v", e, err)
	}
}
