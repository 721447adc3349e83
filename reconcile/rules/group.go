package rules

import (
	"context"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"
	"sync"

	"bakehouse/schema/fleet"
)

// group returns the group of a host by its key. It is nil after a problem.
func (r *resolver) group(ctx context.Context, h *fleet.Host, key string) (*group, error) {
	g, known := r.groups[key]
	if !known {
		if res := r.attributes(h); res != nil {
			g = &group{Result: *res, plugins: r.given(res)}
			if err := r.evaluate(ctx, g); err != nil {
				return nil, err
			}
		}
		r.groups[key] = g
		return g, nil
	}
	if g == nil {
		r.attributes(h) // each host that lacks something is told
	}
	return g, nil
}

// evaluate fills in the outputs that all hosts of the group have, and the recipe if that is all of them.
func (r *resolver) evaluate(ctx context.Context, g *group) error {
	alike := true
	for i, p := range g.plugins {
		if len(r.fleet.Plugins[p.plugin].HostFields()) > 0 {
			alike = false
			continue
		}
		out, err := r.output(ctx, &g.Result, p)
		if err != nil {
			return err
		}
		g.plugins[i].output = out
	}
	if !alike {
		return nil
	}
	var err error
	g.Recipe, err = r.recipe(ctx, &g.Result, g.plugins)
	return err
}

// given are the plugins in the package of a host, by name.
func (r *resolver) given(res *Result) (out []given) {
	s := subject{host: res.Host, site: res.Site, platform: res.Platform}
	for _, plugin := range plugins(res.Host) {
		combined := combinePlugin(r.fleet, s, plugin)
		r.observe(plugin, combined, res.Host)
		if combined.present() {
			out = append(out, given{plugin: plugin, combined: combined})
			r.observeThreshold(plugin, combined)
		}
	}
	return out
}

// keysAtOnce is how many hosts' keys are held.
const keysAtOnce = 4096

// keys computes the keys of hosts, which is most of what resolution costs, on all processors.
func (r *resolver) keys(hosts []*fleet.Host) []string {
	for _, h := range hosts {
		r.class(h.Folder) // from here on they are only read
	}
	keys := make([]string, len(hosts))
	var wg sync.WaitGroup
	part := max(1, (len(hosts)+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	for from := 0; from < len(hosts); from += part {
		wg.Go(func() {
			for i := from; i < min(from+part, len(hosts)); i++ {
				keys[i] = r.key(hosts[i])
			}
		})
	}
	wg.Wait()
	return keys
}

// key is equal for hosts of one group: everything that a condition can look at, and what the host itself sets.
func (r *resolver) key(h *fleet.Host) string {
	b := make([]byte, 0, 256)
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	pairs := func(m map[string]string) {
		b = binary.AppendUvarint(b, uint64(len(m)))
		var room [16]string
		for _, k := range sorted(room[:0], maps.Keys(m)) {
			text(k)
			text(m[k])
		}
	}
	given := func(m map[string]fleet.Value) {
		b = binary.AppendUvarint(b, uint64(len(m)))
		var room [16]string
		for _, k := range sorted(room[:0], maps.Keys(m)) {
			text(k)
			text(string(m[k].JSON))
		}
	}
	class := r.class(h.Folder)
	text(class.key)
	pairs(h.Labels)
	pairs(h.Tags)
	given(h.Attributes)
	b = binary.AppendUvarint(b, uint64(len(h.Set)))
	var room [16]string
	for _, plugin := range sorted(room[:0], maps.Keys(h.Set)) {
		text(plugin)
		given(h.Set[plugin].Value)
	}
	for _, n := range class.names {
		b = append(b, bit(matchNames(n, h.Name)))
	}
	return string(b)
}

// sorted is slices.Sorted into memory that the caller has.
func sorted(room []string, keys func(func(string) bool)) []string {
	room = slices.AppendSeq(room, keys)
	slices.Sort(room)
	return room
}

func (r *resolver) class(folder *fleet.Folder) class {
	if known, ok := r.classes[folder]; ok {
		return known
	}
	w := &conditions{}
	nearest := "" // the nearest folder that says anything
	for f := folder; f != nil; f = f.Parent {
		if nearest == "" && (len(f.Rules) > 0 || len(f.Defaults) > 0) {
			nearest = f.Path
		}
		// In order, because keys of hosts in different folders are compared.
		for _, plugin := range slices.Sorted(maps.Keys(f.Rules)) {
			for _, rule := range f.Rules[plugin] {
				if !rule.Disabled {
					w.add(&rule.When)
				}
			}
		}
	}
	w.add(&r.fleet.Rollout.Select)
	for i := range r.fleet.Rollout.Rings {
		w.add(&r.fleet.Rollout.Rings[i].When)
	}
	key := []byte(nearest + "\x00")
	for _, m := range w.folders {
		key = append(key, bit(matchFolder(m, folder)))
	}
	c := class{string(key), w.names}
	r.classes[folder] = c
	return c
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// conditions are the parts of conditions that look at names and at folders, each once.
type conditions struct {
	names   []*fleet.Names
	folders []*fleet.Match
	seen    map[any]bool
}

func (c *conditions) add(w *fleet.When) {
	if c.seen == nil {
		c.seen = map[any]bool{}
	}
	if c.seen[w] {
		return // a condition that has a name
	}
	c.seen[w] = true
	if w.Hosts != nil {
		c.names = append(c.names, w.Hosts)
	}
	if w.Folder != nil {
		c.folders = append(c.folders, w.Folder)
	}
	for _, parts := range [][]*fleet.When{w.All, w.Any} {
		for _, part := range parts {
			c.add(part)
		}
	}
	if w.Not != nil {
		c.add(w.Not)
	}
	if w.Named != nil {
		for _, named := range w.Named.Conditions {
			c.add(&named.When)
		}
	}
}
