package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Sections are the fields of a plugin that say what it puts on a host.
var Sections = []string{"files", "services", "intervals", "users", "groups", "relations", "scripts", "health",
	"warnings"}

var (
	pluginPath = cue.ParsePath("plugin")
	paramsPath = cue.ParsePath("plugin.params")
)

// plugin is an open plugin. Its methods are safe for concurrent use.
type plugin struct {
	result.Plugin
	name, home string
	dir        *dir
	limits     Limits

	mu    sync.Mutex
	ctx   *cue.Context
	value cue.Value // unified with the schema, in ctx
	uses  int       // of ctx
	dead  error     // a time-out left value to a goroutine that may still run
}

func nameOf(home string) string { return path.Base(home) }

func newPlugin(home string, e *evaluated, l Limits) *plugin {
	return &plugin{name: nameOf(home), home: home, dir: e.dir, limits: l, ctx: e.ctx, value: e.value}
}

// available are the inputs that a plugin may declare, besides params.
var available = map[string][]string{
	"platform": {"os", "arch"},
	"host":     {"name", "address", "folder", "labels", "tags"},
	"beside":   {"updater"},
	"fleet":    {"name", "url", "certificates", "package", "version", "keys", "expires", "keyExpiry", "anchor"},
}

// declare reads what the plugin declares, and says what is wrong with it.
func (p *plugin) declare(e *evaluated) (ps fleet.Problems) {
	p.Reads = map[string][]string{}
	if doc := e.value.LookupPath(cue.ParsePath("plugin.doc")); doc.Exists() {
		p.Doc, _ = doc.String()
	}
	p.Combine = fleet.CombineFirstPerParameter
	if c := e.value.LookupPath(cue.ParsePath("plugin.combine")); c.Exists() {
		how, err := c.String()
		if err != nil {
			ps = append(ps, fleet.Problem{Pos: posOf(repoPos(c)), Msg: "combine is not a constant",
				Hint: "it cannot depend on parameters or hosts"})
		}
		p.Combine = fleet.Combine(how)
	}
	for input, names := range available {
		it, err := e.raw.LookupPath(pluginPath).LookupPath(cue.ParsePath(input)).Fields(cue.Optional(true))
		for err == nil && it.Next() {
			name := it.Selector().Unquoted()
			if !slices.Contains(names, name) {
				ps = append(ps, fleet.Problem{Pos: posOf(repoPos(it.Value())), Msg: fmt.Sprintf("%s has no field %s", input, name),
					Hint: "it has " + strings.Join(names, ", ")})
				continue
			}
			p.Reads[input] = append(p.Reads[input], name)
		}
	}
	params := e.raw.LookupPath(paramsPath)
	if params.Exists() && params.IncompleteKind() != cue.StructKind {
		return append(ps, fleet.Problem{Pos: posOf(repoPos(params)), Msg: "params is not a struct"})
	}
	it, err := params.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		param := paramOf(it.Selector().Unquoted(), it.Value(), it.IsOptional(), p.limits.Nodes)
		if param.Name == fleet.Enabled {
			ps = append(ps, fleet.Problem{Pos: param.Pos, Msg: "every plugin has the parameter enabled, so none declares it"})
		}
		for _, f := range param.Forms {
			if all := fleet.FormNames(); !slices.Contains(all, f.Name) {
				ps = append(ps, fleet.Problem{Pos: param.Pos, Msg: fmt.Sprintf("unknown form %q", f.Name),
					Hint: "there are " + strings.Join(all, ", ")})
			}
		}
		p.Params = append(p.Params, param)
	}
	slices.SortFunc(p.Params, func(a, b fleet.Param) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

// names of the parameters, the implicit one too.
func (p *plugin) names() []string {
	names := []string{fleet.Enabled}
	for _, param := range p.Params {
		names = append(names, param.Name)
	}
	return names
}

// check says what is wrong with the value that a rule gives to a parameter.
func (p *plugin) check(ctx context.Context, info fleet.Info, name string, v fleet.Value) (fleet.Problems, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != nil {
		return nil, p.dead
	}
	var ps fleet.Problems
	c, value := p.context()
	err := p.limits.bounded(ctx, func() {
		if err := p.fill(c, &value, fleet.Inputs{Fleet: info}, nil, false); err != nil {
			return // reported when it is evaluated
		}
		params := value.LookupPath(paramsPath)
		only := map[string]fleet.Value{name: v}
		given := c.BuildExpr(placesOf(only).fields(only))
		err := params.Unify(given).LookupPath(cue.MakePath(cue.Str(name))).Validate()
		for _, found := range problemsOf(err, given, "plugin", "params") {
			doc := docAt(params, names(found.Path))
			found = withRange(found, partAt(params, names(found.Path)))
			if found = p.atRule(found, name, v); found.Hint == "" {
				found.Hint = doc
			}
			ps = append(ps, found)
		}
		if len(ps) == 0 && !p.declares(params, name) {
			ps = append(ps, p.unknown(name, v))
		}
	})
	if err != nil {
		p.dead = fmt.Errorf("plugin %s: %w", p.name, err)
		return nil, p.dead
	}
	return ps, nil
}

// evaluate fills in the inputs and reads what follows.
func (p *plugin) evaluate(ctx context.Context, in fleet.Inputs, params map[string]fleet.Value) (*result.Node, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != nil {
		return nil, p.dead
	}
	var out *result.Node
	var failed error
	err := p.limits.bounded(ctx, func() {
		c, value := p.context()
		if failed = p.fill(c, &value, in, params, true); failed != nil {
			return
		}
		if err := value.LookupPath(pluginPath).Validate(cue.Concrete(true)); err != nil {
			failed = p.problems(err, value, params)
			return
		}
		out, failed = p.sections(value)
	})
	if err != nil {
		p.dead = fmt.Errorf("plugin %s: %w", p.name, err)
		return nil, p.dead
	}
	return out, failed
}

// sections reads what is asked of an evaluated plugin.
func (p *plugin) sections(value cue.Value) (*result.Node, error) {
	out := &result.Node{Kind: result.Struct}
	var ps fleet.Problems
	for _, name := range append([]string{"params"}, Sections...) {
		part := value.LookupPath(cue.MakePath(cue.Str("plugin"), cue.Str(name)))
		if !part.Exists() {
			continue
		}
		n, err := toNode(part, p.limits.Nodes)
		if err != nil {
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: p.home},
				Msg: fmt.Sprintf("plugin %s: %s: %v", p.name, name, err)})
			continue
		}
		out.Names, out.Parts = append(out.Names, name), append(out.Parts, n)
	}
	return out, ps.Err()
}

var unset = regexp.MustCompile(`^plugin\.params\.(\S+?): (incomplete value|\S+ is missing)`)

// problems words what CUE says of an evaluation: a parameter without a value is the rules' fault, all else follows.
func (p *plugin) problems(err error, value cue.Value, params map[string]fleet.Value) fleet.Problems {
	var missing fleet.Problems
	all := problemsOf(err, value)
	declared := fleet.Plugin{Params: p.Params}
	secrets := declared.SecretsOf(params)
	for i, found := range all {
		all[i] = p.hidden(found, len(secrets) > 0)
		if m := unset.FindStringSubmatch(found.Msg); m != nil {
			lacks := fleet.Problem{Pos: found.Pos,
				Msg:  fmt.Sprintf("plugin %s needs the parameter %s, which no rule sets", p.name, m[1]),
				Hint: "set it by a rule, or give it a default in the plugin"}
			if at := givenAt(params, names(found.Path[min(2, len(found.Path)):])); !at.IsZero() {
				lacks.Pos, lacks.Also = at, []fleet.Pos{found.Pos}
				lacks.Hint = "set it beside what the rule gives there"
			}
			missing = append(missing, lacks)
		}
	}
	if len(missing) > 0 {
		return missing
	}
	for i := range all {
		all[i].Msg = "plugin " + p.name + ": " + strings.TrimPrefix(all[i].Msg, "plugin.")
	}
	return all.WithoutTexts(secrets)
}

// givenAt is where rules give what is at a path of the parameters, or what it would be in.
func givenAt(params map[string]fleet.Value, path []string) (at fleet.Pos) {
	if len(path) == 0 {
		return at
	}
	v, ok := params[path[0]]
	for _, name := range path[1:] {
		if !ok {
			break
		}
		at, ok = v.Pos, false
		for _, f := range v.Fields {
			if f.Name == name {
				v, ok = f.Value, true
			}
		}
		if i, err := strconv.Atoi(name); err == nil && i < len(v.Items) && !ok {
			v, ok = v.Items[i], true
		}
	}
	if ok {
		at = v.Pos
	}
	return at
}

// hidden is what CUE says of an evaluation without secrets: what it says of parameters that are none can stay, unless
// it is of what the plugin makes of all of them.
func (p *plugin) hidden(found fleet.Problem, secrets bool) fleet.Problem {
	if len(found.Path) > 2 && found.Path[0] == "plugin" && found.Path[1] == "params" {
		name := names(found.Path[2:3])[0]
		i := slices.IndexFunc(p.Params, func(param fleet.Param) bool { return param.Name == name })
		if i >= 0 && p.Params[i].Hides(names(found.Path[3:])) && !tellsNoValue(found) {
			return withoutValues(found)
		}
		return found
	}
	if secrets && !tellsNoValue(found) {
		return withoutValues(found)
	}
	return found
}

// declares reports whether params has a field of that name, or a pattern that lets it in.
func (p *plugin) declares(params cue.Value, name string) bool {
	return slices.Contains(p.names(), name) || params.Allows(cue.Str(name))
}

func (p *plugin) unknown(name string, v fleet.Value) fleet.Problem {
	hint := fleet.Nearest("did you mean %s?", name, p.names())
	if hint == "" {
		hint = "it has " + strings.Join(p.names(), ", ")
	}
	return fleet.Problem{Pos: v.Pos, Msg: fmt.Sprintf("plugin %s has no parameter %q", p.name, name), Hint: hint}
}

// atRule moves what CUE says of a parameter to where the rule gives it.
func (p *plugin) atRule(found fleet.Problem, name string, v fleet.Value) fleet.Problem {
	if found.Msg == name+": unknown field "+name {
		return p.unknown(name, v)
	}
	i := slices.IndexFunc(p.Params, func(param fleet.Param) bool { return param.Name == name })
	if i >= 0 {
		found = hide(found, p.Params[i], found.Path[min(1, len(found.Path)):])
	}
	found.Msg = p.name + "." + found.Msg
	all := append([]fleet.Pos{found.Pos}, found.Also...)
	found.Pos, found.Also = v.Pos, nil
	for i := len(all) - 1; i >= 0; i-- {
		switch q := all[i]; {
		case q.File == v.Pos.File && v.Has(q):
			found.Pos = q
		case strings.HasPrefix(q.File, p.home) && len(found.Also) == 0 && q.File != "":
			found.Also = []fleet.Pos{q}
		}
	}
	return found
}

// context is the context to evaluate in, renewed now and then; p.mu is held.
func (p *plugin) context() (*cue.Context, cue.Value) {
	if p.uses++; p.uses > p.limits.Uses {
		e := p.dir.evaluate(result.PluginDefinition, true)
		p.ctx, p.value, p.uses = e.ctx, e.value, 0
	}
	return p.ctx, p.value
}

// fill gives value its inputs, and its parameters if concrete.
func (p *plugin) fill(ctx *cue.Context, value *cue.Value, in fleet.Inputs, params map[string]fleet.Value,
	concrete bool) error {
	if !utf8.Valid(in.Fleet.Anchor) {
		return fmt.Errorf("the anchor root is not UTF-8")
	}
	given := map[string]func(name string) any{"fleet": in.Fleet.Field}
	if concrete {
		given["platform"] = func(name string) any {
			return map[string]string{"os": in.Platform.OS, "arch": in.Platform.Arch}[name]
		}
		given["beside"] = func(string) any { return in.Updater }
		given["host"] = func(name string) any {
			v, ok := in.Host[name]
			if !ok {
				return nil
			}
			if name == "labels" || name == "tags" {
				var m map[string]string
				if json.Unmarshal([]byte(v), &m) != nil {
					return nil // so that it stays incomplete
				}
				return m
			}
			return v
		}
	}
	all := &ast.StructLit{}
	for _, input := range slices.Sorted(maps.Keys(given)) {
		fields := &ast.StructLit{}
		for _, name := range p.Reads[input] {
			if v := exprOf(given[input](name)); v != nil {
				fields.Elts = append(fields.Elts, &ast.Field{Label: label(name, token.NoPos), Value: v})
			}
		}
		if len(fields.Elts) > 0 {
			all.Elts = append(all.Elts, &ast.Field{Label: label(input, token.NoPos), Value: fields})
		}
	}
	if len(params) > 0 {
		set := maps.Clone(params)
		delete(set, fleet.Enabled)
		all.Elts = append(all.Elts, &ast.Field{Label: label("params", token.NoPos), Value: placesOf(set).fields(set)})
	}
	if len(all.Elts) > 0 {
		*value = value.FillPath(pluginPath, ctx.BuildExpr(all))
	}
	return nil
}

// exprOf is a string, a boolean, a list of strings or a map of strings; nil for anything else.
func exprOf(v any) ast.Expr {
	switch v := v.(type) {
	case string:
		return ast.NewString(v)
	case bool:
		return ast.NewBool(v)
	case []string:
		list := &ast.ListLit{}
		for _, s := range v {
			list.Elts = append(list.Elts, ast.NewString(s))
		}
		return list
	case map[string]string:
		st := &ast.StructLit{}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			st.Elts = append(st.Elts, &ast.Field{Label: label(k, token.NoPos), Value: ast.NewString(v[k])})
		}
		return st
	}
	return nil
}
