package evaluate

import (
	"fmt"
	"maps"
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

var attributes = []string{fleet.AttrPlatform, fleet.AttrFormat, fleet.AttrSite, fleet.AttrRing,
	fleet.AttrRetireAfter}

// takeFolder reads hosts/ or a folder below it.
func (b *builder) takeFolder(folder *fleet.Folder, n *result.Node) {
	defaults := n.Get("defaults")
	folder.Defaults = attributesOf(defaults)
	// Labels of the folders above are there already, since they were taken first.
	up := b.inherited[folder.Parent]
	own := inherited{overlay(up.labels, defaults.Get("labels")), overlay(up.tags, defaults.Get("tags"))}
	b.inherited[folder] = own

	rules := n.Get("rules")
	if rules != nil {
		folder.Rules = make(map[string][]*fleet.Rule, len(rules.Names))
		for i, plugin := range rules.Names {
			b.wanted[plugin] = true
			for _, v := range rules.Parts[i].Parts {
				r := &fleet.Rule{When: b.when(v.Get("when")), Value: v.Get("value").Values(), Disabled: v.Get("disabled").True(),
					Override: v.Get("override").True(), Comment: v.Get("comment").Str(), Owner: v.Get("owner").Str(),
					Pos: v.At()}
				if plugin == fleet.HostAttributes && looksAtAttributes(&r.When) {
					b.problem(v, "a rule for attributes of hosts cannot depend on their site or platform, which such rules set")
				}
				folder.Rules[plugin] = append(folder.Rules[plugin], r)
			}
		}
	}
	hosts := n.Get("hosts")
	if hosts == nil {
		return
	}
	for i, name := range hosts.Names {
		v := hosts.Parts[i]
		if err := schema.CheckHostName(name); err != nil {
			b.problem(v, "%v", err)
			continue
		}
		h := &fleet.Host{Name: name, Folder: folder, Address: v.Get("address").Str(),
			Retired: v.Get("state").Str() == "retired", Attributes: attributesOf(v), Pos: v.At(),
			Labels: overlay(own.labels, v.Get("labels")), Tags: overlay(own.tags, v.Get("tags"))}
		if h.Address != "" {
			if err := schema.CheckHost(h.Address); err != nil {
				b.problem(v.Get("address"), "host %s: address %v", name, err)
			}
		}
		if h.Pos.IsZero() {
			h.Pos = n.At()
		}
		if first := b.hosts[strings.ToLower(name)]; first != nil {
			b.ps = append(b.ps, fleet.Problem{Pos: h.Pos,
				Msg:  fmt.Sprintf("host %s is already in folder %q", name, first.Folder.Path),
				Hint: "names of hosts are unique in a fleet, whatever their case", Also: []fleet.Pos{first.Pos}})
			continue
		}
		b.hosts[strings.ToLower(name)] = h
		if was := v.Get("was"); was != nil {
			names := was.Parts
			if was.Kind == result.String {
				names = []*result.Node{was}
			}
			if len(names) > schema.MaxWas {
				b.problem(was, "host %s has %d former names, at most %d", name, len(names), schema.MaxWas)
			}
			for _, former := range names {
				h.Was = append(h.Was, former.Text)
				b.former = append(b.former, formerName{h, former.Text, former.At()})
			}
		}
		if set := v.Get("set"); set != nil {
			h.Set = make(map[string]*fleet.Rule, len(set.Names))
			for j, plugin := range set.Names {
				b.wanted[plugin] = true
				h.Set[plugin] = &fleet.Rule{Value: set.Parts[j].Values(), Pos: set.Parts[j].At()}
			}
		}
		b.fleet.Hosts = append(b.fleet.Hosts, h)
	}
}

func attributesOf(n *result.Node) map[string]fleet.Value {
	var out map[string]fleet.Value
	for _, name := range attributes {
		if v := n.Get(name); v != nil {
			if out == nil {
				out = map[string]fleet.Value{}
			}
			out[name] = v.Value()
		}
	}
	return out
}

// overlay is base with the fields of own. Without any it is base itself, which hosts share.
func overlay(base map[string]string, own *result.Node) map[string]string {
	if own == nil || len(own.Names) == 0 {
		return base
	}
	out := make(map[string]string, len(base)+len(own.Names))
	maps.Copy(out, base)
	for i, name := range own.Names {
		out[name] = own.Parts[i].Text
	}
	return out
}

// salvage finds the rules of a folder that the schema refuses, so that the plugins' word on them is told as well.
func (b *builder) salvage(n *result.Node) {
	keep := func(plugin string, v, value *result.Node) {
		if plugin != fleet.HostAttributes && value != nil && value.Kind == result.Struct {
			b.wanted[plugin] = true
			b.salvaged = append(b.salvaged, salvaged{plugin, fleet.Rule{Value: value.Values(), Pos: v.At()}})
		}
	}
	for plugin, list := range n.Get("rules").Fields() {
		for _, v := range list.Parts {
			keep(plugin, v, v.Get("value"))
		}
	}
	for _, host := range n.Get("hosts").Fields() {
		for plugin, v := range host.Get("set").Fields() {
			keep(plugin, v, v)
		}
	}
}
