package rules

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// The reference: a fleet as plain data and a resolution that is as naive as its description. It shares nothing with the
// package but the model that both read.
type refRule struct {
	folder string
	when   map[string]any // as CUE has it
	value  map[string]any
	off    bool
}

type refHost struct {
	name, folder string
	labels, tags map[string]string
	set          map[string]any
	attributes   map[string]any
}

type refFleet struct {
	folders  []string
	defaults map[string]map[string]any // attributes by folder
	hosts    []refHost
	rules    []refRule                 // for the plugin p
	attrs    []refRule                 // for attributes
	named    map[string]map[string]any // conditions
	combine  string                    // of the plugin p
}

var words = rapid.SampledFrom([]string{"a", "b", "c"})

// texts may be empty, which is not the same as absent.
var texts = rapid.SampledFrom([]string{"a", "b", ""})

func drawMatch(t *rapid.T) any {
	switch rapid.IntRange(0, 3).Draw(t, "form") {
	case 0:
		return texts.Draw(t, "is")
	case 1:
		return rapid.SliceOfN(texts, 0, 2).Draw(t, "any")
	case 2:
		return map[string]any{"not": texts.Draw(t, "not")}
	}
	return map[string]any{"not": rapid.SliceOfN(texts, 0, 2).Draw(t, "none")}
}

func drawWhen(t *rapid.T, folders []string, resolved bool) map[string]any {
	when := map[string]any{}
	some := func(name string) bool { return rapid.IntRange(0, 3).Draw(t, "has "+name) == 0 }
	if some("hosts") {
		patterns := rapid.SliceOfN(rapid.SampledFrom([]string{"h0", "h1", "h2", "~h", "~h[0-3]$", "~1", "~.1|.2"}), 0,
			3).Draw(t, "hosts")
		when["hosts"] = patterns
		if rapid.Bool().Draw(t, "negated") {
			when["hosts"] = map[string]any{"not": patterns}
		}
	}
	for _, kind := range []string{"labels", "tags"} {
		if some(kind) {
			when[kind] = map[string]any{words.Draw(t, "key"): drawMatch(t)}
		}
	}
	if some("folder") {
		folder := rapid.SampledFrom(folders).Draw(t, "folder")
		when["folder"] = folder
		if rapid.Bool().Draw(t, "other folders") {
			when["folder"] = map[string]any{"not": []string{folder}}
		}
	}
	if resolved && some("site") {
		when["site"] = rapid.SampledFrom([]string{"central", "s1"}).Draw(t, "site")
	}
	if resolved && some("platform") {
		when["platform"] = rapid.SampledFrom([]string{"linux", "linux/amd64", "linux/arm64", "windows"}).Draw(t, "platform")
	}
	return when
}

// drawGroups is a condition of conditions, at most so many levels deep.
func drawGroups(t *rapid.T, folders []string, resolved bool, depth int) map[string]any {
	when := drawWhen(t, folders, resolved)
	if depth == 0 {
		return when
	}
	for _, kind := range []string{"all", "any"} {
		if rapid.IntRange(0, 4).Draw(t, "has "+kind) == 0 {
			group := []map[string]any{}
			for range rapid.IntRange(0, 3).Draw(t, "parts") {
				group = append(group, drawGroups(t, folders, resolved, depth-1))
			}
			when[kind] = group
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "has not") == 0 {
		when["not"] = drawGroups(t, folders, resolved, depth-1)
	}
	// The condition "anywhere" looks at sites, so rules for attributes cannot use it.
	if resolved && rapid.IntRange(0, 4).Draw(t, "has condition") == 0 {
		when["condition"] = rapid.SampledFrom([]any{"here", []string{"here", "anywhere"}, []string{},
			map[string]any{"not": "anywhere"}}).Draw(t, "condition")
	}
	return when
}

func drawLabels(t *rapid.T) map[string]string {
	return rapid.MapOfN(words, texts, 0, 2).Draw(t, "labels")
}

func drawFleet(t *rapid.T) refFleet {
	all := []string{"", "x", "x/y", "xy"} // the last is no folder below x
	f := refFleet{folders: all, defaults: map[string]map[string]any{"": {"platform": "linux/amd64", "format": "deb"}}}
	attribute := func(what string) map[string]any {
		switch rapid.IntRange(0, 3).Draw(t, what) {
		case 0:
			return map[string]any{"platform": "linux/arm64"}
		case 1:
			return map[string]any{"site": "s1"}
		case 2:
			return map[string]any{"site": "central", "format": "tgz"}
		}
		return map[string]any{}
	}
	for _, folder := range all[1:] {
		f.defaults[folder] = attribute("defaults")
	}
	f.combine = rapid.SampledFrom([]string{"first-per-parameter", "first-rule", "append"}).Draw(t, "combine")
	f.named = map[string]map[string]any{"here": drawWhen(t, all, false), "anywhere": drawWhen(t, all, true)}
	params := func(what string) map[string]any {
		out := map[string]any{}
		for _, p := range []string{"p1", "p2"} {
			if rapid.Bool().Draw(t, what+" "+p) {
				out[p] = rapid.IntRange(1, 99).Draw(t, "value")
			}
		}
		if rapid.Bool().Draw(t, what+" list") {
			out["list"] = rapid.SliceOfN(rapid.IntRange(1, 9), 0, 2).Draw(t, "items")
		}
		if rapid.Bool().Draw(t, what+" struct") {
			fields := rapid.MapOfN(rapid.SampledFrom([]string{"a", "b", "c"}),
				rapid.IntRange(0, 9), 0, 2).Draw(t, "fields")
			given := map[string]any{}
			for name, v := range fields {
				if given[name] = v; v == 0 {
					given[name] = nil // null: leave it out
				}
			}
			out["struct"] = given
		}
		if rapid.IntRange(0, 4).Draw(t, what+" switch") == 0 {
			out["enabled"] = rapid.Bool().Draw(t, "enabled")
		}
		return out
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "hosts") {
		h := refHost{name: fmt.Sprintf("h%d", i), folder: rapid.SampledFrom(all).Draw(t, "in"), labels: drawLabels(t),
			tags: drawLabels(t), attributes: attribute("own")}
		if rapid.IntRange(0, 2).Draw(t, "own rule") == 0 {
			h.set = params("own")
		}
		f.hosts = append(f.hosts, h)
	}
	for range rapid.IntRange(0, 6).Draw(t, "rules") {
		f.rules = append(f.rules, refRule{rapid.SampledFrom(all).Draw(t, "at"), drawGroups(t, all, true, 2), params("rule"),
			rapid.IntRange(0, 5).Draw(t, "off") == 0})
	}
	for range rapid.IntRange(0, 3).Draw(t, "attribute rules") {
		f.attrs = append(f.attrs, refRule{rapid.SampledFrom(all).Draw(t, "at"), drawGroups(t, all, false, 1),
			attribute("by rule"), false})
	}
	return f
}

// model is f as the resolution takes it.
func (f refFleet) model() *model {
	m := newModel()
	m.Hosts, m.Sites["s1"] = nil, schema.Site{URL: "https://s1"}
	m.Conditions = map[string]*fleet.Condition{}
	for name, when := range f.named {
		m.Conditions[name] = &fleet.Condition{Name: name, When: whenOf(when, nil)}
	}
	for _, folder := range f.folders {
		m.folder(folder).Defaults = valuesOf(f.defaults[folder])
	}
	for _, h := range f.hosts {
		to := m.host(h.folder, h.name, fleet.Pos{})
		to.Labels, to.Tags, to.Attributes = h.labels, h.tags, valuesOf(h.attributes)
		if h.set != nil {
			to.Set = map[string]*fleet.Rule{"p": {Value: valuesOf(h.set)}}
		}
	}
	p := m.plugin("p", func(_ fleet.Inputs, params map[string]fleet.Value) fleet.Output {
		or := func(name, standard string) string {
			if v, ok := params[name]; ok {
				return string(v.JSON)
			}
			return standard
		}
		return fleet.Output{Files: []fleet.File{inline("/p",
			or("p1", "0")+" "+or("p2", "0")+" "+or("list", "[]")+" "+or("struct", "{}"))}}
	})
	p.Combine, p.Params = fleet.Combine(f.combine), []fleet.Param{{Name: "struct", ByKey: true}}
	for plugin, rules := range map[string][]refRule{"p": f.rules, fleet.HostAttributes: f.attrs} {
		for _, r := range rules {
			m.rule(r.folder, plugin, fleet.Rule{When: whenOf(r.when, m.Conditions), Value: valuesOf(r.value), Disabled: r.off})
		}
	}
	return m
}

// reaches says whether folder is at or above a host's.
func reaches(folder, host string) bool {
	return folder == "" || host == folder || len(host) > len(folder) && host[:len(folder)+1] == folder+"/"
}

func refAny(m any, holds func(string) bool) bool {
	switch m := m.(type) {
	case string:
		return holds(m)
	case []string:
		for _, s := range m {
			if holds(s) {
				return true
			}
		}
		return false
	case map[string]any:
		return !refAny(m["not"], holds)
	}
	panic(fmt.Sprintf("%T", m))
}

func (f refFleet) matches(h refHost, when map[string]any, site, platform string) bool {
	for kind, m := range when {
		ok := true
		switch kind {
		case "hosts":
			ok = refAny(m, func(s string) bool {
				expr, isRegexp := strings.CutPrefix(s, "~")
				return !isRegexp && s == h.name || isRegexp && regexp.MustCompile("^(?:"+expr+")").MatchString(h.name)
			})
		case "labels", "tags":
			have := map[string]map[string]string{"labels": h.labels, "tags": h.tags}[kind]
			for key, want := range m.(map[string]any) {
				v, there := have[key]
				ok = refAny(want, func(s string) bool { return there && s == v })
			}
		case "folder":
			ok = refAny(m, func(s string) bool { return reaches(s, h.folder) })
		case "site":
			ok = refAny(m, func(s string) bool { return s == site })
		case "platform":
			ok = refAny(m, func(s string) bool { return s == platform || strings.HasPrefix(platform, s+"/") })
		case "condition":
			ok = refAny(m, func(s string) bool { return f.matches(h, f.named[s], site, platform) })
		case "not":
			ok = !f.matches(h, m.(map[string]any), site, platform)
		case "all", "any":
			holding := 0
			for _, part := range m.([]map[string]any) {
				if f.matches(h, part, site, platform) {
					holding++
				}
			}
			ok = holding > 0 && (kind == "any" || holding == len(m.([]map[string]any)))
		}
		if !ok {
			return false
		}
	}
	return true
}

// resolve lists what applies to h in order, and takes the first that has the name.
func (f refFleet) resolve(h refHost) (attributes, params map[string]any, present bool) {
	deepestFirst := slices.Clone(f.folders)
	slices.SortStableFunc(deepestFirst, func(a, b string) int { return len(b) - len(a) })
	applies := func(rules []refRule, site, platform string) (out []map[string]any) {
		for _, folder := range deepestFirst {
			for _, r := range rules {
				if !r.off && r.folder == folder && reaches(folder, h.folder) && f.matches(h, r.when, site, platform) {
					out = append(out, r.value)
				}
			}
		}
		return out
	}
	first := func(list []map[string]any) map[string]any {
		out := map[string]any{}
		for i := len(list) - 1; i >= 0; i-- { // what comes earlier overwrites
			for k, v := range list[i] {
				out[k] = v
			}
		}
		return out
	}
	list := append([]map[string]any{h.attributes}, applies(f.attrs, "", "")...)
	for _, folder := range deepestFirst {
		if reaches(folder, h.folder) {
			list = append(list, f.defaults[folder])
		}
	}
	attributes = first(append(list, map[string]any{"site": "central"}))
	list = nil
	if h.set != nil {
		list = append(list, h.set)
	}
	list = append(list, applies(f.rules, attributes["site"].(string), attributes["platform"].(string))...)
	params = first(list)
	deciding := list
	if f.combine == "first-rule" {
		deciding = list[:min(1, len(list))]
		params = first(deciding)
	}
	fields := map[string]any{}
	for _, values := range slices.Backward(deciding) {
		if given, ok := values["struct"]; ok {
			maps.Copy(fields, given.(map[string]any))
		}
	}
	maps.DeleteFunc(fields, func(_ string, v any) bool { return v == nil })
	params["struct"] = fields
	switch f.combine {
	case "append":
		all := []int{}
		for _, values := range list {
			if items, ok := values["list"]; ok {
				all = append(all, items.([]int)...)
			}
		}
		params["list"] = all
	}
	present = len(list) > 0 && params["enabled"] != false
	return attributes, params, present
}

func TestResolutionEqualsANaiveReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ref := drawFleet(t)
		f := ref.model()
		got, err := Resolve(t.Context(), f.Fleet, f)
		if err != nil {
			t.Fatalf("resolve:\n%v", err)
		}
		contents := map[schema.RecipeID]string{}
		for _, h := range ref.hosts {
			attributes, params, present := ref.resolve(h)
			r := got.Hosts[h.name]
			if r.Platform.String() != attributes["platform"] || string(r.Format) != attributes["format"] ||
				r.Site != attributes["site"] {
				t.Errorf("%s: %s %s %s, want %v", h.name, r.Platform, r.Format, r.Site, attributes)
			}
			want := attributes["platform"].(string)
			if present {
				value := func(name string) any {
					if v, ok := params[name]; ok {
						return v
					}
					return 0
				}
				items, err := json.Marshal(params["list"])
				if err != nil || params["list"] == nil {
					items = []byte("[]")
				}
				fields, err := json.Marshal(params["struct"])
				if err != nil {
					t.Fatal(err)
				}
				want += fmt.Sprintf(" %d %d %s %s", value("p1"), value("p2"), items, fields)
			}
			is := r.Recipe.Platform.String()
			for _, o := range r.Recipe.Outputs {
				is += " " + string(o.Files[0].Content)
			}
			if is != want {
				t.Errorf("%s gets %q, want %q", h.name, is, want)
			}
			if other, ok := contents[r.Recipe.ID]; ok && other != want {
				t.Errorf("recipe %s is both %q and %q", r.Recipe.ID, other, want)
			}
			contents[r.Recipe.ID] = want
			if e, err := Explain(t.Context(), f.Fleet, f, h.name); err != nil || e.Recipe != r.Recipe.ID {
				t.Errorf("explain %s: %v", h.name, err)
			}
		}
		if distinct := len(contents); distinct != len(got.Recipes) {
			t.Errorf("%d recipes, %d kinds of hosts", len(got.Recipes), distinct)
		}
	})
}
