package evaluate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/archive"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/evaluate/output"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/reconcile/evaluate/sources"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Repo is a config repo, evaluated: its fleet, and its plugins, which yield what they put on hosts. It implements
// rules.Evaluator, and is safe for concurrent use.
type Repo struct {
	*fleet.Fleet
	plugins map[string]*plugin // those of the fleet
	engine  Engine
	cache   *cache.Cache
	sources *sources.Sources
}

// plugin is a plugin of the fleet, and what it is made of.
type plugin struct {
	*fleet.Plugin
	source func() (*result.Source, error)
	key    []string // names it in the cache; nil: nothing of it is kept
}

// Output yields what a plugin of the fleet puts on a host. params are those that rules set; the rest take their
// defaults. The error is a fleet.Problems if the plugin or the parameters are to blame.
func (r *Repo) Output(ctx context.Context, plugin string, in fleet.Inputs,
	params map[string]fleet.Value) (*fleet.Output, error) {
	p := r.plugins[plugin]
	templates := p.Shipped && p.Name == hostFiles
	if templates {
		if err := checkTemplates(params); err != nil {
			return nil, err
		}
	}
	n, err := r.evaluate(ctx, p, in, params)
	if err != nil {
		return nil, err
	}
	out, pending, err := output.Decode(p.Plugin, in, n)
	if err == nil && templates {
		if err := checkTexts(params, in, out); err != nil {
			return nil, err
		}
	}
	if err != nil {
		if ps := (fleet.Problems)(nil); errors.As(err, &ps) {
			blame(ps, p.Plugin, params)
			err = ps.WithoutTexts(p.SecretsOf(params)).Err()
		}
		return nil, err
	}
	return out, r.fill(ctx, p, out, pending)
}

// blame moves what is wrong with what a shipped plugin makes from its own lines to those of a rule: nobody can change
// the plugin, so it is the values. An empty struct has no place of its own in the output, and is the likeliest.
func blame(ps fleet.Problems, p *fleet.Plugin, params map[string]fleet.Value) {
	if !p.Shipped {
		return
	}
	var first, empty fleet.Pos
	var walk func(v fleet.Value)
	walk = func(v fleet.Value) {
		if first.IsZero() {
			first = v.Pos
		}
		if v.IsStruct() && len(v.Fields) == 0 {
			empty = v.Pos
		}
		for _, item := range v.Items {
			walk(item)
		}
		for _, f := range v.Fields {
			walk(f.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		walk(params[name])
	}
	at := empty
	if at.IsZero() {
		at = first
	}
	for i := range ps {
		at := at
		for name, v := range params {
			if strings.HasPrefix(ps[i].Msg, "plugin "+p.Name+": "+name+": ") {
				at = v.Pos
			}
		}
		if strings.HasPrefix(ps[i].Pos.File, p.Home) && !at.IsZero() {
			ps[i].Also, ps[i].Pos = append([]fleet.Pos{ps[i].Pos}, ps[i].Also...), at
		}
	}
}

// Settings are all parameters of a plugin of the fleet with their values in force, defaults included.
func (r *Repo) Settings(ctx context.Context, plugin string, in fleet.Inputs,
	params map[string]fleet.Value) (map[string]fleet.Value, error) {
	n, err := r.evaluate(ctx, r.plugins[plugin], in, params)
	if err != nil {
		return nil, err
	}
	return n.Get("params").Values(), nil
}

// evaluate asks the cache, and has the engine evaluate what that does not know.
func (r *Repo) evaluate(ctx context.Context, p *plugin, in fleet.Inputs, params map[string]fleet.Value) (*result.Node,
	error) {
	const kind = "output"
	var key []string
	if p.key != nil {
		key = slices.Concat(p.key, []string{inputsKey(p, in), paramsKey(params)})
		if kept, ok := r.cache.Find(kind, key...); ok {
			if n, err := result.DecodeNode(kept); err == nil {
				return n, nil
			}
		}
	}
	src, err := p.source()
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", p.Name, err)
	}
	n, err := r.engine.Evaluate(ctx, src, in, params)
	if err == nil && key != nil {
		r.cache.Keep(result.EncodeNode(n), kind, key...)
	}
	return n, err
}

// inputsKey is equal for inputs that are equal in what the plugin reads.
func inputsKey(p *plugin, in fleet.Inputs) string {
	b, _ := json.Marshal([]any{in.Platform, in.Host, in.Updater, infoRead(p, in.Fleet)}) // always encodes
	return string(b)
}

// infoRead is what the plugin reads of the fleet.
func infoRead(p *plugin, info fleet.Info) map[string]any {
	read := map[string]any{}
	for _, name := range p.FleetFields() {
		read[name] = info.Field(name)
	}
	return read
}

// paramsKey is equal for parameters that have equal values at equal places: what a plugin yields says where its parts
// come from.
func paramsKey(params map[string]fleet.Value) string {
	var b []byte
	var places func(v fleet.Value)
	places = func(v fleet.Value) {
		b = fmt.Appendf(b, " %q %d %d", v.Pos.File, v.Pos.Line, v.Pos.Col)
		for _, item := range v.Items {
			places(item)
		}
		for _, field := range v.Fields {
			places(field.Value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		b = fmt.Appendf(b, "%q %q", name, params[name].JSON)
		places(params[name])
	}
	return string(b)
}

// fill takes size and digest of what the output takes from the repo, and puts the files of trees in.
func (r *Repo) fill(ctx context.Context, p *plugin, out *fleet.Output, pending []output.Pending) error {
	var ps fleet.Problems
	trees := map[int]bool{} // in out.Files
	for _, s := range pending {
		if s.Tree {
			trees[s.File] = true
			continue
		}
		if err := r.sources.Fill(ctx, &out.Files[s.File]); err != nil {
			ps = append(ps, sourceProblem(p, out.Files[s.File], s, err))
		}
	}
	if len(trees) > 0 {
		taken := map[string]bool{}
		files := []fleet.File{}
		for i, f := range out.Files {
			if !trees[i] {
				taken[f.Path], files = true, append(files, f)
			}
		}
		from := map[string]fleet.File{}
		for _, s := range pending {
			if !s.Tree {
				continue
			}
			top := out.Files[s.File]
			more, err := r.sources.Tree(ctx, p.Name, top, s, taken)
			if err != nil {
				ps = append(ps, sourceProblem(p, top, s, err))
			}
			for _, f := range more {
				if first, ok := from[f.Path]; ok {
					ps = append(ps, fleet.Problem{Pos: top.Pos, Also: []fleet.Pos{first.Pos},
						Msg: fmt.Sprintf("plugin %s: the trees at %s and %s both have %s", p.Name, first.Path, top.Path,
							f.Path)})
					break
				}
				from[f.Path] = top
			}
			files = append(files, more...)
		}
		slices.SortFunc(files, func(a, b fleet.File) int { return strings.Compare(a.Path, b.Path) })
		out.Files = files
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return ps.Err()
}

// sourceProblem says where what is wrong with a source is written.
func sourceProblem(p *plugin, f fleet.File, s output.Pending, err error) fleet.Problem {
	at := s.Pos
	if m := (*archive.MissingError)(nil); errors.As(err, &m) && !s.Member.IsZero() {
		at = s.Member
	}
	found := fleet.Problem{Pos: at, Msg: fmt.Sprintf("plugin %s: file %s: %s: %v", p.Name, f.Path, s.Source, err),
		Hint: fault.HintOf(err)}
	if found.Pos.IsZero() {
		found.Pos = fleet.Pos{File: p.Home}
	}
	return found
}
