// Package rules resolves a Fleet: for each host its attributes and, per plugin, each parameter by the first rule that
// sets it, or in whichever other way the plugin says that its rules combine; then evaluates each plugin once per
// distinct input, and joins the outputs into recipes. Hosts with equal settings share a Recipe, and hosts that no
// condition and no attribute tells apart are resolved once, as a group. It reads no CUE and does no I/O.
//
// The order of rules, first to last: what the host itself sets, then the rules of its folder from top to bottom, then
// those of the folder above, up to the root. For attributes (fleet.HostAttributes) the folders' defaults come after
// all rules, likewise deepest first. Explain runs the same code and keeps what it beat.
package rules

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Evaluator evaluates the plugins of a fleet. The error is a fleet.Problems if the plugin or the parameters are to
// blame.
type Evaluator interface {
	// Output is what the plugin puts on a host. params are those that rules set; the rest take their defaults.
	Output(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (*fleet.Output, error)
	// Settings are all parameters with their values in force, defaults included.
	Settings(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (map[string]fleet.Value,
		error)
}

// Resolved is a fleet with every host's recipe.
type Resolved struct {
	Fleet   *fleet.Fleet
	Hosts   map[string]*Result // by host name, but those that are retired
	Retired []*fleet.Host      // by name
	Recipes map[schema.RecipeID]*Recipe
	// what has to be there before anything can be baked: roots, a key, a package for any host at all
	Missing fleet.Problems
	// hosts without a package, then what is probably not meant: rules without effect, hosts without a ring or site
	Warnings fleet.Problems
}

// Result is what one host gets.
type Result struct {
	Host     *fleet.Host
	Platform schema.Platform
	Format   schema.Format
	Site     string
	Ring     string // empty: the host holds
	Selected bool
	Recipe   *Recipe
	// why there is no package for it, though others get theirs; empty: there is one, or Missing says why none is
	Lacks string

	fleet *fleet.Fleet
	sited bool // something gives it its site
}

// Recipe is the content of a package, for a platform but no format. Its ID covers everything that ends in the package.
type Recipe struct {
	ID       schema.RecipeID
	Platform schema.Platform
	Outputs  []*fleet.Output // by plugin name; none if no rule gives the host a plugin
}

// resolver evaluates each distinct input once.
type resolver struct {
	fleet   *fleet.Fleet
	plugins Evaluator
	classes map[*fleet.Folder]class
	groups  map[string]*group
	outputs map[string]*output // by plugin, platform, host fields and parameters
	recipes map[string]*Recipe // by the numbers of the outputs
	byID    map[schema.RecipeID]*Recipe
	ps      fleet.Problems
	noted   map[string]bool
	uses    map[*fleet.Rule]*use // nil: nobody asks
}

func newResolver(f *fleet.Fleet, plugins Evaluator) *resolver {
	return &resolver{fleet: f, plugins: plugins, classes: map[*fleet.Folder]class{}, groups: map[string]*group{},
		outputs: map[string]*output{},
		recipes: map[string]*Recipe{}, byID: map[schema.RecipeID]*Recipe{}, noted: map[string]bool{}}
}

type output struct {
	*fleet.Output
	number int // among the resolver's outputs
	ok     bool
}

// Resolve computes every host's result. The error is a fleet.Problems if the repo is to blame.
func Resolve(ctx context.Context, f *fleet.Fleet, plugins Evaluator) (*Resolved, error) {
	r := newResolver(f, plugins)
	r.watch()
	res := &Resolved{Fleet: f, Hosts: make(map[string]*Result, len(f.Hosts)), Recipes: r.byID}
	for _, h := range f.Hosts {
		if h.Retired {
			res.Retired = append(res.Retired, h)
			continue
		}
		g, err := r.group(ctx, h)
		if err != nil {
			return nil, err
		}
		if g == nil {
			continue
		}
		result := g.Result
		result.Host = h
		if result.Recipe == nil {
			if result.Recipe, err = r.recipe(ctx, &result, g.plugins); err != nil {
				return nil, err
			}
		}
		if result.Recipe != nil {
			result.Lacks = lacks(f, &result)
		}
		res.Hosts[h.Name] = &result
	}
	if len(r.ps) > 0 {
		return nil, r.ps.Sorted()
	}
	res.Missing = missing(f)
	without, all := unpackaged(res)
	if all { // a release without any host is not meant
		res.Missing, without = append(res.Missing, without...).Sorted(), nil
		for _, h := range res.Hosts {
			h.Lacks = ""
		}
	}
	res.Warnings = slices.Concat(without, unstarted(res), r.warnings(res))
	return res, nil
}

// attributes resolves platform, format, site and ring; nil if one that is needed is not set.
func (r *resolver) attributes(h *fleet.Host) *Result {
	settled := settleAttributes(h)
	r.observe(settled)
	settings := settled.params
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
	if res.Platform, err = schema.ParsePlatform(text(fleet.AttrPlatform)); err != nil {
		r.ps = append(r.ps, fleet.Problem{Pos: settings[fleet.AttrPlatform].Pos, Msg: err.Error()})
		return nil
	}
	s := subject{host: h, site: res.Site, platform: res.Platform}
	res.Selected = s.matches(&r.fleet.Rollout.Select)
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
	for _, p := range conflicts(outputs) {
		r.note(p, res.Host)
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
	} else if err := r.blame(err, res.Host, p.rules[0].Pos); err != nil {
		return nil, err
	}
	return out, nil
}

// inputs are what the plugin may depend on for that host, but the fleet.
func inputs(f *fleet.Fleet, plugin string, res *Result) fleet.Inputs {
	in := fleet.Inputs{Platform: res.Platform, Host: map[string]string{}}
	for _, field := range f.Plugins[plugin].HostFields() {
		in.Host[field] = map[string]string{"name": res.Host.Name, "address": res.Host.Address,
			"folder": res.Host.Folder.Path}[field]
	}
	return in
}

// identity is equal for inputs that are equal; the fleet is the same for all.
func identity(plugin string, in fleet.Inputs, settings map[string]*Setting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q", plugin, in.Platform)
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

// blame notes what is wrong with a plugin's evaluation, with the host that shows it and a rule that asks for it.
func (r *resolver) blame(err error, h *fleet.Host, at fleet.Pos) error {
	var ps fleet.Problems
	if !errors.As(err, &ps) {
		return err
	}
	for _, p := range ps {
		if !at.IsZero() && at.File != p.Pos.File {
			p.Also = append(p.Also, at)
		}
		r.note(p, h)
	}
	return nil
}

// note keeps a problem once, with the first host that shows it.
func (r *resolver) note(p fleet.Problem, h *fleet.Host) {
	key := p.Pos.String() + p.Msg
	if r.noted[key] {
		return
	}
	r.noted[key] = true
	p.Msg += " (host " + h.Name + ")"
	r.ps = append(r.ps, p)
}
