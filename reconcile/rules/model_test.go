package rules

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// model is a fleet that a test makes, and evaluates its plugins: each yields what its function says. It takes the
// place of package evaluate, so that these tests need no CUE.
type model struct {
	*fleet.Fleet
	yields map[string]func(in fleet.Inputs, params map[string]fleet.Value) fleet.Output
}

// newModel is a fleet of two hosts, a and b, in the root folder.
func newModel() *model {
	root := &fleet.Folder{Defaults: map[string]fleet.Value{fleet.AttrPlatform: jsonOf("linux/amd64"),
		fleet.AttrFormat: jsonOf("deb")}, Rules: map[string][]*fleet.Rule{}}
	m := &model{&fleet.Fleet{Name: "n", URL: "https://u", Folders: map[string]*fleet.Folder{"": root},
		Plugins: map[string]*fleet.Plugin{}, Programs: map[schema.Platform]fleet.Program{},
		Sites:   map[string]schema.Site{fleet.CentralSite: {URL: "https://u"}},
		Rollout: fleet.Rollout{Rings: []fleet.Ring{{Ring: schema.Ring{Name: "all"}}}}},
		map[string]func(fleet.Inputs, map[string]fleet.Value) fleet.Output{}}
	m.host("", "a", fleet.Pos{File: "hosts/hosts.cue", Line: 3, Col: 9})
	m.host("", "b", fleet.Pos{File: "hosts/hosts.cue", Line: 3, Col: 16})
	return m
}

func (m *model) Output(_ context.Context, plugin string, in fleet.Inputs,
	params map[string]fleet.Value) (*fleet.Output, error) {
	out := m.yields[plugin](in, params)
	out.Plugin = plugin
	return &out, nil
}

func (m *model) Settings(_ context.Context, _ string, _ fleet.Inputs,
	params map[string]fleet.Value) (map[string]fleet.Value, error) {
	return params, nil
}

// folder is a folder at or below the root, made if need be.
func (m *model) folder(path string) *fleet.Folder {
	f := m.Folders[path]
	if f == nil {
		up := path[:max(0, strings.LastIndexByte(path, '/'))]
		f = &fleet.Folder{Path: path, Parent: m.folder(up), Rules: map[string][]*fleet.Rule{}}
		m.Folders[path] = f
	}
	return f
}

// host adds a host. Hosts are added in the order of their names.
func (m *model) host(folder, name string, at fleet.Pos) *fleet.Host {
	h := &fleet.Host{Name: name, Folder: m.folder(folder), Attributes: map[string]fleet.Value{}, Pos: at}
	m.Hosts = append(m.Hosts, h)
	return h
}

// rule adds a rule to a folder.
func (m *model) rule(folder, plugin string, r fleet.Rule) {
	if plugin != fleet.HostAttributes && m.Plugins[plugin] == nil {
		m.plugin(plugin, func(fleet.Inputs, map[string]fleet.Value) fleet.Output { return fleet.Output{} })
	}
	f := m.folder(folder)
	f.Rules[plugin] = append(f.Rules[plugin], &r)
}

// plugin adds a plugin, or makes it yield something else.
func (m *model) plugin(name string, yields func(fleet.Inputs, map[string]fleet.Value) fleet.Output) *fleet.Plugin {
	if m.Plugins[name] == nil {
		m.Plugins[name] = &fleet.Plugin{Name: name, Combine: fleet.CombineFirstPerParameter}
	}
	m.yields[name] = yields
	return m.Plugins[name]
}

// always adds a plugin that yields the same for every host, and a rule that gives it to all.
func (m *model) always(name string, out fleet.Output) {
	m.plugin(name, func(fleet.Inputs, map[string]fleet.Value) fleet.Output { return out })
	m.rule("", name, fleet.Rule{})
}

func (m *model) resolve(t *testing.T) *Resolved {
	t.Helper()
	r, err := Resolve(t.Context(), m.Fleet, m)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// jsonOf is v as a value. Lists have their items, structs their fields.
func jsonOf(v any) fleet.Value {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	out := fleet.Value{JSON: b}
	if out.IsList() {
		var items []json.RawMessage
		if err := json.Unmarshal(b, &items); err != nil {
			panic(err)
		}
		for _, item := range items {
			out.Items = append(out.Items, fleet.Value{JSON: item})
		}
	}
	if out.IsStruct() {
		fields := map[string]json.RawMessage{}
		if err := json.Unmarshal(b, &fields); err != nil {
			panic(err)
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			out.Fields = append(out.Fields, fleet.Field{Name: name, Value: fleet.Value{JSON: fields[name]}})
		}
	}
	return out
}

// set is what a rule gives to one parameter.
func set(name string, v any) map[string]fleet.Value { return map[string]fleet.Value{name: jsonOf(v)} }

// at is a place in hosts/r.cue, where the rules are.
func at(line, col int) fleet.Pos { return fleet.Pos{File: "hosts/r.cue", Line: line, Col: col} }

// text is a text parameter, or its default.
func text(params map[string]fleet.Value) string {
	if v, ok := params["text"]; ok {
		return v.Text()
	}
	return "x"
}

func inline(path, content string) fleet.File {
	return fleet.File{Path: path, Mode: 0o644, Content: []byte(content), SHA256: schema.DigestOf([]byte(content)),
		Size: int64(len(content))}
}

// hosts is a condition on names.
func hosts(not bool, patterns ...string) fleet.When {
	n := &fleet.Names{Not: not}
	for _, text := range patterns {
		p, err := fleet.NewPattern(text)
		if err != nil {
			panic(err)
		}
		n.Patterns = append(n.Patterns, p)
	}
	return fleet.When{Hosts: n}
}

// whenOf makes a condition of what a folder of CUE would say.
func whenOf(w map[string]any, named map[string]*fleet.Condition) fleet.When {
	var out fleet.When
	for kind, m := range w {
		switch kind {
		case "hosts":
			list, not := m, false
			if n, ok := m.(map[string]any); ok {
				list, not = n["not"], true
			}
			out.Hosts = hosts(not, list.([]string)...).Hosts
		case "labels", "tags":
			into := map[string]*map[string]fleet.Match{"labels": &out.Labels, "tags": &out.Tags}[kind]
			*into = map[string]fleet.Match{}
			for key, m := range m.(map[string]any) {
				(*into)[key] = *matchOf(m)
			}
		case "folder":
			out.Folder = matchOf(m)
		case "site":
			out.Site = matchOf(m)
		case "platform":
			out.Platform = matchOf(m)
		case "condition":
			match := matchOf(m)
			out.Named = &fleet.Named{Not: match.Not}
			for _, name := range match.Any {
				out.Named.Conditions = append(out.Named.Conditions, named[name])
			}
		case "all", "any":
			group := []*fleet.When{}
			for _, part := range m.([]map[string]any) {
				w := whenOf(part, named)
				group = append(group, &w)
			}
			*map[string]*[]*fleet.When{"all": &out.All, "any": &out.Any}[kind] = group
		case "not":
			not := whenOf(m.(map[string]any), named)
			out.Not = &not
		default:
			panic(kind)
		}
	}
	return out
}

func matchOf(m any) *fleet.Match {
	switch m := m.(type) {
	case string:
		return &fleet.Match{Any: []string{m}}
	case []string:
		return &fleet.Match{Any: m}
	case map[string]any:
		match := matchOf(m["not"])
		match.Not = true
		return match
	}
	panic(fmt.Sprintf("%T", m))
}

func valuesOf(m map[string]any) map[string]fleet.Value {
	out := map[string]fleet.Value{}
	for name, v := range m {
		out[name] = jsonOf(v)
	}
	return out
}
