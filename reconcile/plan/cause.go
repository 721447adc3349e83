package plan

import (
	"bytes"
	"cmp"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Cause is a line or a file of the repo that makes a difference.
type Cause struct {
	Plugin string    `json:"plugin,omitempty"` // whose part of the package; empty: the host itself
	What   string    `json:"what"`             // such as "vitals.disk", or "file"
	At     fleet.Pos `json:"at,omitzero"`
	Gone   bool      `json:"gone,omitempty"` // the place is in the state before, and what it said holds no more
}

func (c Cause) compare(d Cause) int {
	return cmp.Or(strings.Compare(c.Plugin, d.Plugin), strings.Compare(c.What, d.What), strings.Compare(c.At.File, d.At.File),
		cmp.Compare(c.At.Line, d.At.Line), cmp.Compare(c.At.Col, d.At.Col), first(c.Gone, d.Gone))
}

// causes are what made one host change; g is its group.
func (b *builder) causes(c Change, g *Group) (out []Cause) {
	old, now := b.before.host(c.Host), b.after.host(c.Host)
	switch {
	case c.After == nil && now != nil && now.Lacks != "":
		return []Cause{{What: "no package: " + now.Lacks, At: file(now.Host.Pos)}}
	case c.Before == nil && now != nil && old != nil && old.Lacks != "":
		out = append(out, Cause{What: "no more: " + old.Lacks, At: file(now.Host.Pos)})
	case c.Before == nil && now != nil:
		out = append(out, Cause{What: "host added", At: file(now.Host.Pos)})
	case c.After == nil && b.listed[c.Host] != nil:
		what := "host retired"
		if h := b.listed[c.Host]; h.Name != c.Host {
			what = "host renamed to " + h.Name
		}
		return []Cause{{What: what, At: b.listed[c.Host].Pos}}
	case c.After == nil && old != nil:
		out = append(out, Cause{What: "host removed", At: file(old.Host.Pos), Gone: true})
	}
	for _, s := range g.Attributes {
		cause := Cause{What: s.Name, At: s.At}
		if s.At.IsZero() && old != nil {
			cause.At, cause.Gone = b.before.Resolved.AttributePos(old, s.Name), true
		}
		if !cause.At.IsZero() {
			out = append(out, cause)
		}
	}
	if now == nil || len(g.Items) == 0 {
		return out
	}
	var was map[string]rules.Settings
	if old != nil {
		was = old.Settings()
	}
	is := now.Settings()
	for plugin := range plugins(g.Items) {
		if old == nil {
			if s, ok := is[plugin]; ok {
				out = append(out, given(plugin, s, false)...)
			}
			continue
		}
		out = slices.Concat(out, b.settings(plugin, was, is), b.pluginFiles(plugin), b.inputs(plugin, old, now))
	}
	return out
}

func plugins(items []Item) map[string]bool {
	names := map[string]bool{}
	for _, it := range items {
		names[it.Plugin] = true
	}
	return names
}

// file is the place without line: many hosts of one file change together.
func file(p fleet.Pos) fleet.Pos { return fleet.Pos{File: p.File} }

// given is the rule by which a host has a plugin.
func given(plugin string, s rules.Settings, gone bool) []Cause {
	if len(s.Rules) == 0 {
		return nil
	}
	return []Cause{{Plugin: plugin, What: "rule for " + plugin, At: s.Rules[0], Gone: gone}}
}

// settings are the parameters that are not set as they were.
func (b *builder) settings(plugin string, was, is map[string]rules.Settings) (out []Cause) {
	old, had := was[plugin]
	now, has := is[plugin]
	switch {
	case !had && !has:
		return nil
	case !had:
		return given(plugin, now, false)
	case !has:
		return given(plugin, old, true)
	}
	names := maps.Clone(old.Params)
	maps.Copy(names, now.Params)
	p := b.after.Resolved.Fleet.Plugins[plugin]
	for name := range names {
		before, after := parts(old.Params[name]), parts(now.Params[name])
		cause := Cause{Plugin: plugin, What: plugin + "." + name}
		if old, now := old.Params[name], now.Params[name]; old != nil && now != nil && p != nil && p.Combine == fleet.CombineAppend && old.IsList() && now.IsList() {
			out = append(out, appended(cause, parts(old), parts(now))...)
			continue
		}
		if p != nil && p.ByKey(name) {
			before, after = fields(before), fields(after)
		}
		for _, v := range lacking(after, before) {
			cause.At, cause.Gone = v.Pos, false
			out = append(out, cause)
		}
		if len(before) == 1 && len(after) == 1 {
			continue // one value instead of another: its place says it
		}
		for _, v := range lacking(before, after) {
			cause.At, cause.Gone = v.Pos, true
			out = append(out, cause)
		}
		if len(before) > 0 && len(after) == 0 && p != nil && p.Combine == fleet.CombineFirstRule {
			out = append(out, given(plugin, now, false)...) // it now decides alone
		}
	}
	return out
}

// parts are the values that rules give to a parameter: one, unless lists are appended.
func parts(s *rules.Setting) (out []fleet.Value) {
	switch {
	case s == nil:
		return nil
	case s.Parts == nil:
		return []fleet.Value{s.Value}
	}
	for _, p := range s.Parts {
		out = append(out, p.Value)
	}
	return out
}

// fields are those of structs, each as a struct of its own.
func fields(structs []fleet.Value) (out []fleet.Value) {
	for _, v := range structs {
		for _, f := range v.Fields {
			out = append(out, fleet.StructOf(f.Pos, []fleet.Field{f}))
		}
	}
	return out
}

// appended are the items that a list has more or fewer of, each where its rule has it; if it has the same items in another
// order, the rules that give them.
func appended(cause Cause, was, is []fleet.Value) (out []Cause) {
	items := func(lists []fleet.Value) (all []fleet.Value) {
		for _, v := range lists {
			all = append(all, v.Items...)
		}
		return all
	}
	before, after := items(was), items(is)
	at := map[fleet.Pos]bool{}
	for _, v := range lacking(after, before) {
		cause.At, at[v.Pos] = v.Pos, true
		out = append(out, cause)
	}
	for _, v := range lacking(before, after) {
		if !at[v.Pos] { // else another item stands in its place, which says it
			out = append(out, Cause{Plugin: cause.Plugin, What: cause.What, At: v.Pos, Gone: true})
		}
	}
	same := func(x, y fleet.Value) bool { return bytes.Equal(x.JSON, y.JSON) }
	if len(out) == 0 && !slices.EqualFunc(before, after, same) {
		for i, v := range is {
			if i >= len(was) || !same(was[i], v) {
				cause.At = v.Pos
				out = append(out, cause)
			}
		}
	}
	return out
}

// lacking are the values that others do not have, or not as often.
func lacking(values, others []fleet.Value) (out []fleet.Value) {
	have := map[string]int{}
	for _, o := range others {
		have[string(o.JSON)]++
	}
	for _, v := range values {
		if have[string(v.JSON)]--; have[string(v.JSON)] < 0 {
			out = append(out, v)
		}
	}
	return out
}

// pluginFiles are the files of a plugin, or that it takes from the repo, that differ.
func (b *builder) pluginFiles(plugin string) []Cause {
	if out, ok := b.trees[plugin]; ok {
		return out
	}
	names := map[string]bool{}
	b.before.sources(plugin, names)
	b.after.sources(plugin, names)
	var out []Cause
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if was, is := b.before.digest(name), b.after.digest(name); was != is {
			out = append(out, Cause{Plugin: plugin, What: "file", At: fleet.Pos{File: name}, Gone: is.IsZero()})
		}
	}
	b.trees[plugin] = out
	return out
}

// sources notes the CUE of a plugin of the repo, and what it takes from the repo.
func (s *Side) sources(plugin string, names map[string]bool) {
	if s.Resolved == nil || s.Files == nil {
		return
	}
	if p := s.Resolved.Fleet.Plugins[plugin]; p != nil && !p.Shipped {
		entries, _ := fs.ReadDir(s.Files, "plugins/"+plugin)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".cue") {
				names["plugins/"+plugin+"/"+e.Name()] = true
			}
		}
	}
	for _, r := range s.Resolved.Recipes {
		for _, o := range r.Outputs {
			for _, f := range o.Files {
				if o.Plugin == plugin && f.Repo != "" {
					names[f.Repo] = true
				}
			}
		}
	}
}

// digest is that of a file of the repo, zero if it is not there.
func (s *Side) digest(name string) schema.Digest {
	if s.Files == nil {
		return schema.Digest{}
	}
	b, err := fs.ReadFile(s.Files, name)
	if err != nil {
		return schema.Digest{}
	}
	return schema.DigestOf(b)
}

// inputs are what else a plugin may depend on: the host's fields, the fleet's, the pinned host program.
func (b *builder) inputs(plugin string, old, now *rules.Result) (out []Cause) {
	p := b.after.Resolved.Fleet.Plugins[plugin]
	if p == nil || b.before.Resolved == nil {
		return nil
	}
	for _, field := range p.HostFields() {
		if was, is := old.Host.Field(field), now.Host.Field(field); was != is {
			out = append(out, Cause{Plugin: plugin, What: "host's " + field, At: now.Host.Pos})
		}
	}
	fields := p.FleetFields()
	program := ships(now.Recipe, plugin)
	if len(fields) == 0 && !program {
		return out
	}
	f := b.after.Resolved.Fleet
	was, is := b.before.Resolved.Fleet.Info(old.Platform), f.Info(now.Platform)
	if program && was.Program != is.Program || slices.Contains(fields, "version") && was.Version != is.Version {
		out = append(out, Cause{Plugin: plugin, What: "pinned host program", At: f.Programs[now.Platform].Pos})
	}
	for _, field := range fields {
		switch {
		case field == "keys" && !maps.Equal(was.Keys, is.Keys):
			out = append(out, keyCauses(plugin, was.Keys, is.Keys, f)...)
		case field == "anchor" && !bytes.Equal(was.Anchor, is.Anchor):
			out = append(out, Cause{Plugin: plugin, What: "anchor root", At: fleet.Pos{File: "trust"}})
		case field == "url" && was.URL != is.URL, field == "name" && was.Name != is.Name,
			field == "certificates" && !reflect.DeepEqual(was.Certificates, is.Certificates):
			out = append(out, Cause{Plugin: plugin, What: "fleet's " + field, At: fleet.Pos{File: "fleet.cue"}})
		}
	}
	return out
}

// ships reports whether the plugin puts the host program into the package.
func ships(r *rules.Recipe, plugin string) bool {
	return slices.ContainsFunc(r.Outputs, func(o *fleet.Output) bool {
		return o.Plugin == plugin && slices.ContainsFunc(o.Files, func(f fleet.File) bool { return f.Program })
	})
}

func keyCauses(plugin string, was, is map[string]string, f *fleet.Fleet) (out []Cause) {
	names := maps.Clone(was)
	maps.Copy(names, is)
	for name := range names {
		if was[name] == is[name] {
			continue
		}
		cause := Cause{Plugin: plugin, What: "key " + name, Gone: is[name] == ""}
		if k := f.Keys[name]; k != nil {
			cause.At = k.Pos
		}
		out = append(out, cause)
	}
	return out
}
