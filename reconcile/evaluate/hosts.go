package evaluate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cuelang.org/go/cue"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// inherited are labels and tags of a folder's defaults, with those of the folders above.
type inherited struct{ labels, tags map[string]string }

var attributes = []string{fleet.AttrPlatform, fleet.AttrFormat, fleet.AttrSite, fleet.AttrRing}

// takeFolder reads hosts/ or a folder below it.
func (ld *loader) takeFolder(folder *fleet.Folder, n *node) {
	defaults := n.get("defaults")
	folder.Defaults = attributesOf(defaults)
	// Labels of the folders above are there already, since they were taken first.
	up := ld.inherited[folder.Parent]
	own := inherited{overlay(up.labels, defaults.get("labels")), overlay(up.tags, defaults.get("tags"))}
	ld.inherited[folder] = own

	rules := n.get("rules")
	if rules != nil {
		folder.Rules = make(map[string][]*fleet.Rule, len(rules.names))
		for i, plugin := range rules.names {
			ld.wanted[plugin] = true
			for _, v := range rules.fields[i].fields {
				r := &fleet.Rule{When: ld.when(v.get("when")), Value: values(v.get("value")), Disabled: v.get("disabled").is(),
					Comment: v.get("comment").str(), Owner: v.get("owner").str(), Pos: v.at()}
				if plugin == fleet.HostAttributes && looksAtAttributes(&r.When) {
					ld.problem(v, "a rule for attributes of hosts cannot depend on their site or platform, which such rules set")
				}
				folder.Rules[plugin] = append(folder.Rules[plugin], r)
			}
		}
	}
	hosts := n.get("hosts")
	if hosts == nil {
		return
	}
	for i, name := range hosts.names {
		v := hosts.fields[i]
		if err := schema.CheckHostName(name); err != nil {
			ld.problem(v, "%v", err)
			continue
		}
		h := &fleet.Host{Name: name, Folder: folder, Address: v.get("address").str(), Retired: v.get("state").str() == "retired", Attributes: attributesOf(v), Pos: v.at(),
			Labels: overlay(own.labels, v.get("labels")), Tags: overlay(own.tags, v.get("tags"))}
		if h.Pos.IsZero() {
			h.Pos = n.at()
		}
		if first := ld.hosts[strings.ToLower(name)]; first != nil {
			ld.ps = append(ld.ps, fleet.Problem{Pos: h.Pos, Msg: fmt.Sprintf("host %s is already in folder %q", name, first.Folder.Path),
				Hint: "names of hosts are unique in a fleet, whatever their case", Also: []fleet.Pos{first.Pos}})
			continue
		}
		ld.hosts[strings.ToLower(name)] = h
		if was := v.get("was"); was != nil {
			h.Was = was.strs()
			for _, former := range was.fields {
				ld.former = append(ld.former, formerName{h, former})
			}
		}
		if set := v.get("set"); set != nil {
			h.Set = make(map[string]*fleet.Rule, len(set.names))
			for j, plugin := range set.names {
				ld.wanted[plugin] = true
				h.Set[plugin] = &fleet.Rule{Value: values(set.fields[j]), Pos: set.fields[j].at()}
			}
		}
		ld.fleet.Hosts = append(ld.fleet.Hosts, h)
	}
}

func attributesOf(n *node) map[string]fleet.Value {
	var out map[string]fleet.Value
	for _, name := range attributes {
		if v := n.get(name); v != nil {
			if out == nil {
				out = map[string]fleet.Value{}
			}
			out[name] = v.value()
		}
	}
	return out
}

func values(n *node) map[string]fleet.Value {
	out := make(map[string]fleet.Value, len(n.names))
	for i, name := range n.names {
		out[name] = n.fields[i].value()
	}
	return out
}

// overlay is base with the fields of own. Without any it is base itself, which hosts share.
func overlay(base map[string]string, own *node) map[string]string {
	if own == nil || len(own.names) == 0 {
		return base
	}
	out := make(map[string]string, len(base)+len(own.names))
	maps.Copy(out, base)
	for i, name := range own.names {
		out[name] = own.fields[i].text
	}
	return out
}

// salvaged is what a rule gives to a plugin, in a folder that the schema refuses.
type salvaged struct {
	plugin string
	fleet.Rule
}

// salvage finds the rules of a folder that the schema refuses, so that the plugins' word on them is told as well.
func (ld *loader) salvage(n *node) {
	keep := func(plugin string, v, value *node) {
		if plugin != fleet.HostAttributes && value != nil && value.kind == cue.StructKind {
			ld.wanted[plugin] = true
			ld.salvaged = append(ld.salvaged, &salvaged{plugin, fleet.Rule{Value: values(value), Pos: v.at()}})
		}
	}
	for plugin, list := range n.get("rules").pairs() {
		for _, v := range list.fields {
			keep(plugin, v, v.get("value"))
		}
	}
	for _, host := range n.get("hosts").pairs() {
		for plugin, v := range host.get("set").pairs() {
			keep(plugin, v, v)
		}
	}
}

// formerName is a name that a host had before.
type formerName struct {
	host *fleet.Host
	node *node
}

// renames checks that a former name means one host: its registration and its published packages may go by it.
func (ld *loader) renames() {
	seen := map[string]formerName{}
	for _, f := range ld.former {
		key := strings.ToLower(f.node.text)
		now, first := ld.hosts[key], seen[key]
		switch {
		case schema.CheckHostName(f.node.text) != nil:
			ld.problem(f.node, "%v", schema.CheckHostName(f.node.text))
		case now == f.host:
			ld.problem(f.node, "host %s was never called otherwise: it is the name that it has", f.host.Name)
		case now != nil:
			ld.problem(f.node, "host %s was called %s, but there is a host of that name", f.host.Name, f.node.text).Also = []fleet.Pos{now.Pos}
		case first.host != nil:
			ld.problem(f.node, "host %s was called %s, but so was host %s", f.host.Name, f.node.text, first.host.Name).Also = []fleet.Pos{first.node.at()}
		default:
			seen[key] = f
		}
	}
}

// finish checks what crosses directories.
func (ld *loader) finish() {
	f := ld.fleet
	slices.SortFunc(f.Hosts, func(a, b *fleet.Host) int { return strings.Compare(a.Name, b.Name) })
	rings := make([]string, len(f.Rollout.Rings))
	for i, r := range f.Rollout.Rings {
		rings[i] = r.Name
	}
	for _, p := range ld.plugins {
		p.fleet = f
	}
	ld.places = map[string]map[string]fleet.Pos{fleet.AttrSite: ld.sites, fleet.AttrRing: {}, "condition": {}}
	for _, r := range f.Rollout.Rings {
		ld.places[fleet.AttrRing][r.Name] = r.Pos
	}
	for _, c := range f.Conditions {
		ld.places["condition"][c.Name] = c.Pos
	}
	known := map[string][]string{fleet.AttrSite: slices.Collect(maps.Keys(f.Sites)), fleet.AttrRing: rings, "folder": slices.Collect(maps.Keys(f.Folders)),
		"condition": slices.Collect(maps.Keys(f.Conditions))}
	for _, r := range ld.references {
		for _, v := range r.match.Any {
			ld.exists(r.node.at(), r.kind, v, known[r.kind])
		}
	}
	ld.unusedConditions()
	ld.renames()
	check := func(plugin string, value map[string]fleet.Value, at fleet.Pos) {
		if plugin == fleet.HostAttributes {
			for _, name := range []string{fleet.AttrSite, fleet.AttrRing} {
				if v, ok := value[name]; ok {
					ld.exists(v.Pos, name, v.Text(), known[name])
				}
			}
			return
		}
		p := f.Plugins[plugin]
		if p == nil {
			if !ld.failed[plugin] {
				names := append(ShippedNames(), slices.Collect(maps.Keys(f.Plugins))...)
				found := fleet.Problem{Pos: at, Msg: fmt.Sprintf("there is no plugin %q", plugin), Hint: fleet.Nearest("did you mean %s?", plugin, names)}
				if near := f.Plugins[fleet.Nearest("%s", plugin, names)]; near != nil && !near.Shipped {
					found.Also = []fleet.Pos{{File: near.Home}}
				}
				ld.ps = append(ld.ps, found)
			}
			return
		}
		if plugin == fleet.UpdaterPlugin {
			value = ld.keysOf(value)
		}
		ld.ps = append(ld.ps, ld.plugins[plugin].check(value)...)
		if v, ok := value["interval"]; ok && plugin == fleet.UpdaterPlugin {
			if d, err := schema.ParseDuration(v.Text()); err == nil && time.Duration(d) < 10*time.Minute {
				ld.warn(fleet.Problem{Pos: v.Pos, Msg: fmt.Sprintf("interval %s: every host asks that often; 10m and more are kind to the server", v.Text())})
			}
		}
	}
	for _, folder := range f.Folders {
		check(fleet.HostAttributes, folder.Defaults, fleet.Pos{})
		for plugin, rules := range folder.Rules {
			for _, r := range rules {
				check(plugin, r.Value, r.Pos)
			}
		}
	}
	for _, s := range ld.salvaged {
		check(s.plugin, s.Value, s.Pos)
	}
	for _, h := range f.Hosts {
		check(fleet.HostAttributes, h.Attributes, h.Pos)
		for plugin, r := range h.Set {
			check(plugin, r.Value, r.Pos)
		}
	}
}

// definedBy are the parts of the schema that say what there is of a kind.
var definedBy = map[string][]string{fleet.AttrSite: {"#Root", "#Sites"}, fleet.AttrRing: {"#Root"}, "condition": {"#Root"}}

// keysOf checks the names of keys in a rule for the updater, whose own error would not say where the key is.
func (ld *loader) keysOf(value map[string]fleet.Value) map[string]fleet.Value {
	v, ok := value["keys"]
	if !ok || ld.unread["#Keys"] {
		return value
	}
	bad := false
	for _, item := range v.Items {
		name := item.Text()
		k := ld.fleet.Keys[name]
		switch {
		case k == nil && item.IsText():
			near := fleet.Nearest("%s", name, slices.Collect(maps.Keys(ld.fleet.Keys)))
			p := ld.problemAt(item.Pos, "there is no key %q", name)
			if near != "" {
				p.Hint, p.Also = "did you mean "+near+"?", []fleet.Pos{ld.fleet.Keys[near].Pos}
			}
		case k != nil && !k.Retired.IsZero():
			p := ld.problemAt(item.Pos, "key %s is retired, so no package is signed with it", name)
			p.Hint, p.Also = "name the key that followed it", []fleet.Pos{k.Pos}
		case k != nil && !k.Has(fleet.UsePackage):
			p := ld.problemAt(item.Pos, "key %s does not sign packages, but %s", name, strings.Join(k.Uses, ", "))
			p.Hint, p.Also = "hosts accept keys with the use \"package\"", []fleet.Pos{k.Pos}
		default:
			continue
		}
		bad = true
	}
	if !bad {
		return value
	}
	rest := maps.Clone(value)
	delete(rest, "keys")
	return rest
}

func (ld *loader) exists(at fleet.Pos, kind, name string, known []string) {
	if !slices.Contains(known, name) && !slices.ContainsFunc(definedBy[kind], func(d string) bool { return ld.unread[d] }) {
		p := fleet.Problem{Pos: at, Msg: fmt.Sprintf("there is no %s %q", kind, name), Hint: fleet.Nearest("did you mean %s?", name, known)}
		if place := ld.places[kind][fleet.Nearest("%s", name, known)]; !place.IsZero() {
			p.Also = []fleet.Pos{place}
		}
		ld.ps = append(ld.ps, p)
	}
}
