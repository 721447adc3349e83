package evaluate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// checkParams checks what rules give to the parameters of plugins. Equal values of a parameter are checked once, and
// none that an earlier run found to be in order. The error is that ctx ended.
func (ld *loader) checkParams(ctx context.Context) error {
	distinct := map[string]map[string]param{}
	ld.eachParam(func(plugin string, p param) {
		if distinct[plugin] == nil {
			distinct[plugin] = map[string]param{}
		}
		if key := p.key(); distinct[plugin][key].name == "" {
			distinct[plugin][key] = p
		}
	})
	info := ld.fleet.Info(schema.Platform{})
	wrong := map[string]map[string]bool{}
	for _, plugin := range slices.Sorted(maps.Keys(distinct)) {
		wrong[plugin] = ld.wrongParams(ctx, ld.plugins[plugin], info, distinct[plugin])
	}
	dead := map[string]bool{}
	ld.eachParam(func(plugin string, p param) {
		if !wrong[plugin][p.key()] || dead[plugin] {
			return
		}
		ps, err := ld.check(ctx, ld.plugins[plugin], info, p)
		if err != nil {
			ps, dead[plugin] = fleet.Problems{{Pos: p.value.Pos, Msg: err.Error()}}, true
		}
		ld.ps = append(ld.ps, ps...)
	})
	return context.Cause(ctx)
}

// wrongParams are the keys of those that are not in order.
func (ld *loader) wrongParams(ctx context.Context, p *plugin, info fleet.Info, all map[string]param) map[string]bool {
	const kind = "params"
	keys := slices.Sorted(maps.Keys(all))
	var cached []string
	if p.key != nil {
		read, _ := json.Marshal(infoRead(p, info)) // always encodes
		cached = slices.Concat(p.key, []string{string(read)}, keys)
		if _, ok := ld.cache.Find(kind, cached...); ok {
			return nil
		}
	}
	wrong := map[string]bool{}
	for _, key := range keys {
		if ps, err := ld.check(ctx, p, info, all[key]); len(ps) > 0 || err != nil {
			wrong[key] = true
		}
	}
	if cached != nil && len(wrong) == 0 {
		ld.cache.Keep(nil, kind, cached...)
	}
	return wrong
}

func (ld *loader) check(ctx context.Context, p *plugin, info fleet.Info, given param) (fleet.Problems, error) {
	src, err := p.source()
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	ps, err := ld.engine.Check(ctx, src, info, given.name, given.value)
	if declared, ok := p.Param(given.name); ok && err == nil && len(ps) == 0 {
		for _, found := range declared.CheckForms(given.value) {
			found.Msg = p.Name + "." + found.Msg
			ps = append(ps, found)
		}
	}
	return ps, err
}

// param is a value that a rule gives to a parameter.
type param struct {
	name  string
	value fleet.Value
}

// key is equal for equal values of a parameter.
func (p param) key() string { return strings.Join([]string{p.name, string(p.value.JSON)}, "=") }

// eachParam yields what rules give to parameters of plugins that the fleet has, but for what is checked already.
func (ld *loader) eachParam(yield func(plugin string, p param)) {
	ld.eachRule(func(plugin string, value map[string]fleet.Value, _ fleet.Pos) {
		if ld.plugins[plugin] == nil {
			return
		}
		for name, v := range value {
			if name == fleet.Enabled || plugin == fleet.UpdaterPlugin && name == "keys" && len(ld.keysProblems(v)) > 0 {
				continue
			}
			if v.IsStruct() && ld.plugins[plugin].ByKey(name) {
				v = v.Keep(func(f fleet.Field) bool { return !f.IsNull() })
			}
			yield(plugin, param{name, v})
		}
	})
}
