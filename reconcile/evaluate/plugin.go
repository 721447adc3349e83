package evaluate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/token"

	"bakehouse/schema/fleet"
)

// plugin is CUE that makes files, services, scripts and a health check of typed parameters. Its methods are safe for
// concurrent use.
type plugin struct {
	*fleet.Plugin
	dir     *dir
	fleet   *fleet.Fleet
	l       limits
	sources *sources

	mu    sync.Mutex
	ctx   *cue.Context
	value cue.Value // unified with the schema, in ctx
	uses  int       // of ctx
	known map[string]bool
	dead  error // a time-out left value to a goroutine that may still run
}

// maxUses is after how many evaluations a context is renewed: contexts only grow.
const maxUses = 2000

// available are the inputs that a plugin may declare, besides params.
var available = map[string][]string{
	"platform": {"os", "arch"},
	"host":     {"name", "address", "folder"},
	"fleet":    {"name", "url", "certificates", "package", "version", "keys", "expires", "keyExpiry", "anchor"},
}

var pluginPath, paramsPath = cue.ParsePath("plugin"), cue.ParsePath("plugin.params")

// take keeps an evaluated directory as a plugin.
func (p *plugin) take(e *evaluated) (ps fleet.Problems) {
	if e == nil {
		return fleet.Problems{{Pos: fleet.Pos{File: p.Home}, Msg: "there is no CUE file in it", Hint: "a plugin is plugins/NAME/plugin.cue"}}
	}
	p.dir, p.ctx, p.value, p.Reads, p.known = e.dir, e.ctx, e.value, map[string][]string{}, map[string]bool{}
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
		param := paramOf(it.Selector().Unquoted(), it.Value(), it.IsOptional(), p.l.Nodes)
		if param.Name == fleet.Enabled {
			ps = append(ps, fleet.Problem{Pos: param.Pos, Msg: "every plugin has the parameter enabled, so none declares it"})
		}
		p.Params = append(p.Params, param)
	}
	slices.SortFunc(p.Params, func(a, b fleet.Param) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

func docOf(v cue.Value) string {
	var b strings.Builder
	for _, group := range v.Doc() {
		b.WriteString(group.Text())
	}
	return strings.TrimSpace(b.String())
}

// names of the parameters, the implicit one too.
func (p *plugin) names() []string {
	names := []string{fleet.Enabled}
	for _, param := range p.Params {
		names = append(names, param.Name)
	}
	return names
}

// check says what is wrong with the values that a rule gives to parameters.
func (p *plugin) check(value map[string]fleet.Value) (ps fleet.Problems) {
	for _, name := range slices.Sorted(maps.Keys(value)) {
		v := value[name]
		if name == fleet.Enabled {
			if !v.IsBool() {
				ps = append(ps, fleet.Problem{Pos: v.Pos, Msg: fmt.Sprintf("%s.enabled: %s is not true or false", p.Name, v.JSON)})
			}
			continue
		}
		p.mu.Lock()
		key := name + "=" + string(v.JSON)
		if !p.known[key] {
			found := p.checkOne(name, v)
			p.known[key] = len(found) == 0
			ps = append(ps, found...)
		}
		p.mu.Unlock()
	}
	return ps
}

func (p *plugin) checkOne(name string, v fleet.Value) (ps fleet.Problems) {
	if p.dead != nil {
		return nil
	}
	ctx, value := p.context()
	err := p.l.bounded(context.Background(), func() {
		info := p.fleet.Info(fleet.Inputs{}.Platform)
		if err := p.fill(ctx, &value, fleet.Inputs{Fleet: info}, nil, false); err != nil {
			return // reported when it is evaluated
		}
		params := value.LookupPath(paramsPath)
		only := map[string]fleet.Value{name: v}
		given := ctx.BuildExpr(placesOf(only).fields(only))
		err := params.Unify(given).LookupPath(cue.MakePath(cue.Str(name))).Validate()
		for _, found := range problemsOf(err, given, "plugin", "params") {
			ps = append(ps, p.atRule(found, name, v))
		}
		if len(ps) == 0 && !p.declares(params, name) {
			ps = append(ps, p.unknown(name, v))
		}
	})
	if err != nil {
		p.dead = fmt.Errorf("plugin %s: %w", p.Name, err)
		return fleet.Problems{{Pos: v.Pos, Msg: p.dead.Error()}}
	}
	return ps
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
	return fleet.Problem{Pos: v.Pos, Msg: fmt.Sprintf("plugin %s has no parameter %q", p.Name, name), Hint: hint}
}

// atRule moves what CUE says of a parameter to where the rule gives it.
func (p *plugin) atRule(found fleet.Problem, name string, v fleet.Value) fleet.Problem {
	if found.Msg == name+": unknown field "+name {
		return p.unknown(name, v)
	}
	if p.Secret(name) {
		found.Msg = name + ": it is not of the form that the plugin asks for"
	}
	found.Msg = p.Name + "." + found.Msg
	i := slices.IndexFunc(p.Params, func(param fleet.Param) bool { return param.Name == name })
	if i >= 0 && found.Hint == "" {
		found.Hint, _, _ = strings.Cut(strings.ReplaceAll(p.Params[i].Doc, "\n", " "), ". ")
	}
	all := append([]fleet.Pos{found.Pos}, found.Also...)
	found.Pos, found.Also = v.Pos, nil
	for i := len(all) - 1; i >= 0; i-- {
		switch q := all[i]; {
		case q.File == v.Pos.File && v.Has(q):
			found.Pos = q
		case strings.HasPrefix(q.File, p.Home) && len(found.Also) == 0 && q.File != "":
			found.Also = []fleet.Pos{q}
		}
	}
	return found
}

// context is the context to evaluate in, renewed now and then; p.mu is held.
func (p *plugin) context() (*cue.Context, cue.Value) {
	if p.uses++; p.uses > maxUses {
		e := p.dir.evaluate("#PluginDir", true)
		p.ctx, p.value, p.uses = e.ctx, e.value, 0
	}
	return p.ctx, p.value
}

// fill gives value its inputs, and its parameters if concrete.
func (p *plugin) fill(ctx *cue.Context, value *cue.Value, in fleet.Inputs, params map[string]fleet.Value, concrete bool) error {
	if !utf8.Valid(in.Fleet.Anchor) {
		return fmt.Errorf("the anchor root is not UTF-8")
	}
	given := map[string]map[string]ast.Expr{
		"fleet": {"name": ast.NewString(in.Fleet.Name), "url": ast.NewString(in.Fleet.URL), "package": ast.NewString(in.Fleet.Package),
			"version": ast.NewString(in.Fleet.Version), "anchor": ast.NewString(string(in.Fleet.Anchor)),
			"certificates": listExpr(in.Fleet.Certificates), "keys": mapExpr(in.Fleet.Keys), "expires": mapExpr(in.Fleet.Expires),
			"keyExpiry": mapExpr(in.Fleet.KeyExpiry)},
	}
	if concrete {
		given["platform"] = map[string]ast.Expr{"os": ast.NewString(in.Platform.OS), "arch": ast.NewString(in.Platform.Arch)}
		given["host"] = map[string]ast.Expr{}
		for name, v := range in.Host {
			given["host"][name] = ast.NewString(v)
		}
	}
	all := &ast.StructLit{}
	for _, input := range slices.Sorted(maps.Keys(given)) {
		fields := &ast.StructLit{}
		for _, name := range p.Reads[input] {
			if v := given[input][name]; v != nil {
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

func listExpr(items []string) ast.Expr {
	list := &ast.ListLit{}
	for _, s := range items {
		list.Elts = append(list.Elts, ast.NewString(s))
	}
	return list
}

func mapExpr(m map[string]string) ast.Expr {
	st := &ast.StructLit{}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		st.Elts = append(st.Elts, &ast.Field{Label: label(k, token.NoPos), Value: ast.NewString(m[k])})
	}
	return st
}
