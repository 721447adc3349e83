package evaluate

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// renames checks that a former name means one host: its registration and its published packages may go by it.
func (b *builder) renames() {
	seen := map[string]formerName{}
	for _, f := range b.former {
		key := strings.ToLower(f.name)
		now, first := b.hosts[key], seen[key]
		switch {
		case schema.CheckHostName(f.name) != nil:
			b.problemAt(f.pos, "%v", schema.CheckHostName(f.name))
		case now == f.host:
			b.problemAt(f.pos, "host %s was never called otherwise: it is the name that it has", f.host.Name)
		case now != nil:
			b.problemAt(f.pos, "host %s was called %s, but there is a host of that name", f.host.Name,
				f.name).Also = []fleet.Pos{now.Pos}
		case first.host != nil:
			b.problemAt(f.pos, "host %s was called %s, but so was host %s", f.host.Name, f.name,
				first.host.Name).Also = []fleet.Pos{first.pos}
		default:
			seen[key] = f
		}
	}
}

// checkReferences checks that the values exist of conditions that were read since it was called last. Folders are
// known from the start, the rest is in what is evaluated first.
func (b *builder) checkReferences() {
	names := b.names()
	for _, r := range b.references {
		for _, v := range r.match.Any {
			b.exists(r.pos, r.kind, v, names)
		}
	}
	b.references = nil
}

// finish checks what crosses directories, but for the values of parameters.
func (b *builder) finish() {
	f := b.fleet
	slices.SortFunc(f.Hosts, func(a, b *fleet.Host) int { return strings.Compare(a.Name, b.Name) })
	b.checkReferences()
	names := b.names()
	b.unusedConditions()
	b.renames()
	b.eachRule(func(plugin string, value map[string]fleet.Value, at fleet.Pos) {
		switch {
		case plugin == fleet.HostAttributes:
			for _, name := range []string{fleet.AttrSite, fleet.AttrRing} {
				if v, ok := value[name]; ok {
					b.exists(v.Pos, name, v.Text(), names)
				}
			}
			if v, ok := value[fleet.AttrRetireAfter]; ok {
				b.retireAfter(v)
			}
			return
		case f.Plugins[plugin] == nil:
			if !b.failed[plugin] {
				b.noPlugin(plugin, at)
			}
			return
		case plugin == fleet.UpdaterPlugin:
			b.updater(value)
		}
		if v, ok := value[fleet.Enabled]; ok && !v.IsBool() {
			b.problemAt(v.Pos, "%s.enabled: %s is not true or false", plugin, v.JSON)
		}
	})
}

// retireAfter checks the value of that attribute. Hosts poll once an hour or so: less would retire those in order.
func (b *builder) retireAfter(v fleet.Value) {
	switch d, err := schema.ParseDuration(v.Text()); {
	case err != nil:
		b.problemAt(v.Pos, "retireAfter: %v", err)
	case d != 0 && time.Duration(d) < time.Hour:
		b.problemAt(v.Pos, "retireAfter: %s is under an hour", v.Text()).Hint = `"0s" is for ever`
	}
}

// eachRule yields what every rule gives to a plugin or, as fleet.HostAttributes, to hosts.
func (b *builder) eachRule(yield func(plugin string, value map[string]fleet.Value, at fleet.Pos)) {
	for _, folder := range b.fleet.Folders {
		yield(fleet.HostAttributes, folder.Defaults, fleet.Pos{})
		for plugin, rules := range folder.Rules {
			for _, r := range rules {
				yield(plugin, r.Value, r.Pos)
			}
		}
	}
	for _, s := range b.salvaged {
		yield(s.plugin, s.Value, s.Pos)
	}
	for _, h := range b.fleet.Hosts {
		yield(fleet.HostAttributes, h.Attributes, h.Pos)
		for plugin, r := range h.Set {
			yield(plugin, r.Value, r.Pos)
		}
	}
}

// names is what conditions and attributes can refer to, by kind and name, and where it is written.
func (b *builder) names() map[string]map[string]fleet.Pos {
	names := map[string]map[string]fleet.Pos{fleet.AttrSite: {}, fleet.AttrRing: {}, "condition": {}, "folder": {}}
	for name := range b.fleet.Sites {
		names[fleet.AttrSite][name] = b.fleet.SitePos[name]
	}
	for _, r := range b.fleet.Rollout.Rings {
		names[fleet.AttrRing][r.Name] = r.Pos
	}
	for name, c := range b.fleet.Conditions {
		names["condition"][name] = c.Pos
	}
	for name := range b.fleet.Folders {
		names["folder"][name] = fleet.Pos{}
	}
	return names
}

func (b *builder) noPlugin(name string, at fleet.Pos) {
	names := append(ShippedNames(), slices.Collect(maps.Keys(b.fleet.Plugins))...)
	p := b.problemAt(at, "there is no plugin %q", name)
	p.Hint = fleet.Nearest("did you mean %s?", name, names)
	if near := b.fleet.Plugins[fleet.Nearest("%s", name, names)]; near != nil && !near.Shipped {
		p.Also = []fleet.Pos{{File: near.Home}}
	}
}

// updater checks what a rule says of the updater, and its schema cannot.
func (b *builder) updater(value map[string]fleet.Value) {
	if v, ok := value["keys"]; ok {
		b.ps = append(b.ps, b.keysProblems(v)...)
	}
	if v, ok := value["threshold"]; ok {
		most := 0
		for _, k := range b.fleet.Keys {
			if k.Retired.IsZero() && k.Has(fleet.UsePackage) {
				most++
			}
		}
		if n, err := strconv.Atoi(string(v.JSON)); err == nil && n > most && most > 0 {
			b.problemAt(v.Pos, "updater.threshold: %d is out of range: want 1 to %d, the number of keys that sign "+
				"packages", n, most)
		}
	}
	if v, ok := value["interval"]; ok {
		if d, err := schema.ParseDuration(v.Text()); err == nil && time.Duration(d) < 10*time.Minute {
			b.warn(fleet.Problem{Pos: v.Pos,
				Msg: fmt.Sprintf("interval %s: every host asks that often; 10m and more are kind to the server", v.Text())})
		}
	}
	if v, ok := value["server"]; ok {
		b.inTheClear(v.Pos, v.Text())
	}
	for _, f := range value["handover"].Fields {
		if f.Name == "server" {
			b.inTheClear(f.Pos, f.Text())
		}
	}
}

// inTheClear warns of a server that hosts would speak to without TLS. What they install is verified all the same.
func (b *builder) inTheClear(at fleet.Pos, url string) {
	if strings.HasPrefix(strings.ToLower(url), "http:") {
		b.warn(fleet.Problem{Pos: at, Msg: url + ": hosts send their secrets, users their passwords and servers the " +
			"packages without TLS, for everybody on the way to read", Hint: "write https://"})
	}
}

// keysProblems checks the names of keys in a rule for the updater, whose own error would not say where the key is.
func (b *builder) keysProblems(v fleet.Value) (ps fleet.Problems) {
	seen := map[string]fleet.Pos{}
	for _, item := range v.Items {
		name := item.Text()
		p := fleet.Problem{Pos: item.Pos}
		first, twice := seen[name]
		seen[name] = item.Pos
		switch k := b.fleet.Keys[name]; {
		case twice && item.IsText():
			p.Msg, p.Also = fmt.Sprintf("key %q is here twice, and counts once", name), []fleet.Pos{first}
		case k == nil && item.IsText():
			p.Msg = fmt.Sprintf("there is no key %q", name)
			if near := fleet.Nearest("%s", name, slices.Collect(maps.Keys(b.fleet.Keys))); near != "" {
				p.Hint, p.Also = "did you mean "+near+"?", []fleet.Pos{b.fleet.Keys[near].Pos}
			}
		case k != nil && !k.Retired.IsZero():
			p.Msg = fmt.Sprintf("key %s is retired, so no package is signed with it", name)
			p.Hint, p.Also = "name the key that followed it", []fleet.Pos{k.Pos}
		case k != nil && !k.Has(fleet.UsePackage):
			p.Msg = fmt.Sprintf("key %s does not sign packages, but %s", name, strings.Join(k.Uses, ", "))
			p.Hint, p.Also = "hosts accept keys with the use \"package\"", []fleet.Pos{k.Pos}
		default:
			continue
		}
		ps = append(ps, p)
	}
	return ps
}

// exists notes that names has no such name of a kind.
func (b *builder) exists(at fleet.Pos, kind, name string, names map[string]map[string]fleet.Pos) {
	known := names[kind]
	if _, ok := known[name]; ok || kind == fleet.AttrSite && b.sitesUnread {
		return
	}
	p := b.problemAt(at, "there is no %s %q", kind, name)
	near := fleet.Nearest("%s", name, slices.Collect(maps.Keys(known)))
	if near != "" {
		p.Hint = "did you mean " + near + "?"
	}
	if place := known[near]; !place.IsZero() {
		p.Also = []fleet.Pos{place}
	}
}
