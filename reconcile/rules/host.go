package rules

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// attributes resolves platform, format, site, ring and retireAfter; nil if one that is needed is not set.
func (r *resolver) attributes(h *fleet.Host) *Result {
	combined := combineAttributes(h)
	r.observe(fleet.HostAttributes, combined, h)
	settings := combined.params
	text := func(name string) string {
		if s := settings[name]; s != nil {
			return s.Text()
		}
		return ""
	}
	res := &Result{fleet: r.fleet, sited: settings[fleet.AttrSite] != nil, Host: h,
		Site: cmp.Or(text(fleet.AttrSite), fleet.CentralSite), Ring: text(fleet.AttrRing),
		Format: schema.Format(text(fleet.AttrFormat))}
	for _, name := range []string{fleet.AttrPlatform, fleet.AttrFormat} {
		if settings[name] == nil {
			r.ps = append(r.ps, fleet.Problem{Pos: h.Pos, Msg: fmt.Sprintf("host %s has no %s", h.Name, name),
				Hint: "set it on the host, by a rule for `host`, or in the defaults of its folder"})
			return nil
		}
	}
	var err error
	if settings[fleet.AttrRetireAfter] != nil {
		if res.RetireAfter, err = schema.ParseDuration(text(fleet.AttrRetireAfter)); err != nil {
			r.ps = append(r.ps, fleet.Problem{Pos: settings[fleet.AttrRetireAfter].Pos, Msg: err.Error()})
			return nil
		}
	}
	if res.Platform, err = schema.ParsePlatform(text(fleet.AttrPlatform)); err != nil {
		r.ps = append(r.ps, fleet.Problem{Pos: settings[fleet.AttrPlatform].Pos, Msg: err.Error()})
		return nil
	}
	if formats := res.Platform.Formats(); len(formats) > 0 && !slices.Contains(formats, res.Format) {
		p := fleet.Problem{Pos: settings[fleet.AttrFormat].Pos, Hint: "set its format to " + anyOf(formats),
			Msg: fmt.Sprintf("host %s has the format %s, which is not made for %s", h.Name, res.Format, res.Platform)}
		if at := settings[fleet.AttrPlatform].Pos; at != p.Pos {
			p.Also = []fleet.Pos{at}
		}
		r.ps = append(r.ps, p)
		return nil
	}
	s := subject{host: h, site: res.Site, platform: res.Platform}
	res.Selected = s.matches(&r.fleet.Rollout.Select)
	if r.fleet.Plugins[fleet.UpdaterPlugin] != nil {
		res.updater = combinePlugin(r.fleet, s, fleet.UpdaterPlugin).present()
	}
	for _, ring := range r.fleet.Rollout.Rings {
		if res.Ring == "" && s.matches(&ring.When) {
			res.Ring = ring.Name
		}
	}
	return res
}

// recipe joins what each plugin puts on the host; nil after a problem.
func (r *resolver) recipe(ctx context.Context, res *Result, plugins []given) (*Recipe, error) {
	var outputs []*fleet.Output
	key := []byte(res.Platform.String())
	good := true
	for _, p := range plugins {
		out := p.output
		if out == nil {
			var err error
			if out, err = r.output(ctx, res, p); err != nil {
				return nil, err
			}
		}
		key = binary.AppendUvarint(key, uint64(out.number))
		good = good && out.ok
		outputs = append(outputs, out.Output)
	}
	if !good {
		return nil, nil
	}
	if known := r.recipes[string(key)]; known != nil {
		return known, nil
	}
	rec := &Recipe{Platform: res.Platform, Outputs: outputs}
	at := func(plugin, file string, other fleet.Pos) fleet.Pos {
		i := slices.IndexFunc(plugins, func(p given) bool { return p.plugin == plugin })
		return plugins[i].fieldPos(file, other)
	}
	for _, p := range conflicts(res.Platform.OS, outputs, at) {
		r.note(p, res.Host)
	}
	for _, w := range slices.Concat(strangers(res.Platform.OS, outputs, at), openKeys(outputs, at)) {
		r.warn(w, res.Host)
	}
	rec.ID = identify(rec)
	// Different settings may well yield the same files.
	if same := r.byID[rec.ID]; same != nil {
		rec = same
	}
	r.recipes[string(key)], r.byID[rec.ID] = rec, rec
	return rec, nil
}

// output evaluates a plugin for the host, unless it has been for equal inputs.
func (r *resolver) output(ctx context.Context, res *Result, p given) (*output, error) {
	in := inputs(r.fleet, p.plugin, res)
	id := identity(p.plugin, in, p.params)
	out := r.outputs[id]
	if out != nil {
		return out, nil
	}
	out = &output{number: len(r.outputs)}
	r.outputs[id] = out
	in.Fleet = r.fleet.Info(res.Platform)
	var err error
	if out.Output, err = r.plugins.Output(ctx, p.plugin, in, values(p.params)); err == nil {
		out.ok = true
		for _, w := range out.Warnings {
			r.warn(fleet.Problem{Pos: p.rules[0].Pos, Msg: "plugin " + p.plugin + ": " + w}, res.Host)
		}
		for _, w := range exposed(r.fleet.Plugins[p.plugin], p.params, out.Output) {
			r.warn(w, res.Host)
		}
	} else if err := r.blame(err, res.Host, p.rules[0].Pos); err != nil {
		return nil, err
	}
	return out, nil
}

// inputs are what the plugin may depend on for that host, but the fleet.
func inputs(f *fleet.Fleet, plugin string, res *Result) fleet.Inputs {
	in := fleet.Inputs{Platform: res.Platform, Host: map[string]string{},
		Updater: res.updater && f.Plugins[plugin].ReadsUpdater()}
	for _, field := range f.Plugins[plugin].HostFields() {
		in.Host[field] = res.Host.Field(field)
	}
	return in
}

// identity is equal for inputs that are equal; the fleet is the same for all.
func identity(plugin string, in fleet.Inputs, settings map[string]*Setting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %v", plugin, in.Platform, in.Updater)
	for _, name := range slices.Sorted(maps.Keys(in.Host)) {
		fmt.Fprintf(&b, " %q %q", name, in.Host[name])
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, " %q=%q", name, settings[name].JSON)
	}
	return b.String()
}

func values(settings map[string]*Setting) map[string]fleet.Value {
	out := make(map[string]fleet.Value, len(settings))
	for name, s := range settings {
		out[name] = s.Value
	}
	return out
}
