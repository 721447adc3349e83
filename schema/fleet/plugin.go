package fleet

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
)

// Plugin is one agent plug-in: CUE that makes files, services, scripts and a health check of typed parameters. Its
// methods are safe for concurrent use.
type Plugin struct {
	Name    string
	Doc     string
	Shipped bool    // comes with the tool
	Combine Combine // how rules for it combine
	Params  []Param // as declared, by name

	home    string // its folder
	dir     *dir
	fleet   *Fleet
	l       limits
	sources *sources
	inputs  map[string][]string // the fields it declares of platform, host and fleet

	mu    sync.Mutex
	ctx   *cue.Context
	value cue.Value // unified with the schema, in ctx
	uses  int       // of ctx
	known map[string]bool
	dead  error // a time-out left value to a goroutine that may still run
}

// Combine says what several rules for a plugin make together.
type Combine string

const (
	CombineFirstPerParameter Combine = "first-per-parameter" // each parameter is set by the first rule that gives it; the default
	CombineFirstRule         Combine = "first-rule"          // the first rule alone decides
	CombineAppend            Combine = "append"              // lists get the items of all rules, in their order; all else as by default
)

// Enabled is the parameter that every plugin has: false keeps the plugin out of a host's package.
const Enabled = "enabled"

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
func (p *Plugin) take(e *evaluated) (ps Problems) {
	if e == nil {
		return Problems{{Pos: Pos{File: p.home}, Msg: "there is no CUE file in it", Hint: "a plugin is plugins/NAME/plugin.cue"}}
	}
	p.dir, p.ctx, p.value, p.inputs, p.known = e.dir, e.ctx, e.value, map[string][]string{}, map[string]bool{}
	if doc := e.value.LookupPath(cue.ParsePath("plugin.doc")); doc.Exists() {
		p.Doc, _ = doc.String()
	}
	p.Combine = CombineFirstPerParameter
	if c := e.value.LookupPath(cue.ParsePath("plugin.combine")); c.Exists() {
		how, err := c.String()
		if err != nil {
			ps = append(ps, Problem{Pos: posOf(repoPos(c)), Msg: "combine is not a constant", Hint: "it cannot depend on parameters or hosts"})
		}
		p.Combine = Combine(how)
	}
	for input, names := range available {
		it, err := e.raw.LookupPath(pluginPath).LookupPath(cue.ParsePath(input)).Fields(cue.Optional(true))
		for err == nil && it.Next() {
			name := it.Selector().Unquoted()
			if !slices.Contains(names, name) {
				ps = append(ps, Problem{Pos: posOf(repoPos(it.Value())), Msg: fmt.Sprintf("%s has no field %s", input, name),
					Hint: "it has " + strings.Join(names, ", ")})
				continue
			}
			p.inputs[input] = append(p.inputs[input], name)
		}
	}
	params := e.raw.LookupPath(paramsPath)
	if params.Exists() && params.IncompleteKind() != cue.StructKind {
		return append(ps, Problem{Pos: posOf(repoPos(params)), Msg: "params is not a struct"})
	}
	it, err := params.Fields(cue.Optional(true))
	for err == nil && it.Next() {
		param := paramOf(it.Selector().Unquoted(), it.Value(), it.IsOptional(), p.l.Nodes)
		if param.Name == Enabled {
			ps = append(ps, Problem{Pos: param.Pos, Msg: "every plugin has the parameter enabled, so none declares it"})
		}
		p.Params = append(p.Params, param)
	}
	slices.SortFunc(p.Params, func(a, b Param) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

func docOf(v cue.Value) string {
	var b strings.Builder
	for _, group := range v.Doc() {
		b.WriteString(group.Text())
	}
	return strings.TrimSpace(b.String())
}

// HostFields are the fields of the host that the output depends on.
func (p *Plugin) HostFields() []string { return p.inputs["host"] }

// FleetFields are the fields of Info that the output depends on, as CUE names them.
func (p *Plugin) FleetFields() []string { return p.inputs["fleet"] }

// names of the parameters, the implicit one too.
func (p *Plugin) names() []string {
	names := []string{Enabled}
	for _, param := range p.Params {
		names = append(names, param.Name)
	}
	return names
}

// check says what is wrong with the values that a rule gives to parameters.
func (p *Plugin) check(value map[string]Value) (ps Problems) {
	for _, name := range slices.Sorted(maps.Keys(value)) {
		v := value[name]
		if name == Enabled {
			if v.node.kind != cue.BoolKind {
				ps = append(ps, Problem{Pos: v.Pos, Msg: fmt.Sprintf("%s.enabled: %s is not true or false", p.Name, v.JSON)})
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

func (p *Plugin) checkOne(name string, v Value) (ps Problems) {
	if p.dead != nil {
		return nil
	}
	ctx, value := p.context()
	err := p.l.bounded(context.Background(), func() {
		info := p.fleet.Info(Inputs{}.Platform)
		if err := p.fill(ctx, &value, Inputs{Fleet: info}, nil, false); err != nil {
			return // reported when it is evaluated
		}
		params := value.LookupPath(paramsPath)
		given := ctx.BuildExpr(&ast.StructLit{Elts: []ast.Decl{&ast.Field{Label: label(name, v.node.pos), Value: v.node.expr()}}})
		for _, found := range problemsOf(params.Unify(given).LookupPath(cue.MakePath(cue.Str(name))).Validate(), given, "plugin", "params") {
			ps = append(ps, p.atRule(found, name, v))
		}
		if len(ps) == 0 && !p.declares(params, name) {
			ps = append(ps, p.unknown(name, v))
		}
	})
	if err != nil {
		p.dead = fmt.Errorf("plugin %s: %w", p.Name, err)
		return Problems{{Pos: v.Pos, Msg: p.dead.Error()}}
	}
	return ps
}

// declares reports whether params has a field of that name, or a pattern that lets it in.
func (p *Plugin) declares(params cue.Value, name string) bool {
	return slices.Contains(p.names(), name) || params.Allows(cue.Str(name))
}

func (p *Plugin) unknown(name string, v Value) Problem {
	hint := Nearest("did you mean %s?", name, p.names())
	if hint == "" {
		hint = "it has " + strings.Join(p.names(), ", ")
	}
	return Problem{Pos: v.Pos, Msg: fmt.Sprintf("plugin %s has no parameter %q", p.Name, name), Hint: hint}
}

// atRule moves what CUE says of a parameter to where the rule gives it.
func (p *Plugin) atRule(found Problem, name string, v Value) Problem {
	if found.Msg == name+": unknown field "+name {
		return p.unknown(name, v)
	}
	if p.Secret(name) {
		found.Msg = name + ": it is not of the form that the plugin asks for"
	}
	found.Msg = p.Name + "." + found.Msg
	if i := slices.IndexFunc(p.Params, func(param Param) bool { return param.Name == name }); i >= 0 && found.Hint == "" {
		found.Hint, _, _ = strings.Cut(strings.ReplaceAll(p.Params[i].Doc, "\n", " "), ". ")
	}
	places := append([]Pos{found.Pos}, found.Also...)
	found.Pos, found.Also = v.Pos, nil
	for i := len(places) - 1; i >= 0; i-- {
		switch q := places[i]; {
		case q.File == v.Pos.File && v.node.holds(q):
			found.Pos = q
		case strings.HasPrefix(q.File, p.home) && len(found.Also) == 0 && q.File != "":
			found.Also = []Pos{q}
		}
	}
	return found
}

// holds reports whether some part of n stands at q.
func (n *node) holds(q Pos) bool {
	if posOf(n.pos) == q {
		return true
	}
	return slices.ContainsFunc(n.fields, func(f *node) bool { return f.holds(q) })
}

// context is the context to evaluate in, renewed now and then; p.mu is held.
func (p *Plugin) context() (*cue.Context, cue.Value) {
	if p.uses++; p.uses > maxUses {
		e := p.dir.evaluate("#PluginDir", true)
		p.ctx, p.value, p.uses = e.ctx, e.value, 0
	}
	return p.ctx, p.value
}

// fill gives value its inputs, and its parameters if concrete.
func (p *Plugin) fill(ctx *cue.Context, value *cue.Value, in Inputs, params map[string]Value, concrete bool) error {
	if !utf8.Valid(in.Fleet.Anchor) {
		return fmt.Errorf("the anchor root is not UTF-8")
	}
	given := map[string]map[string]*node{
		"fleet": {"name": textNode(in.Fleet.Name), "url": textNode(in.Fleet.URL), "package": textNode(in.Fleet.Package),
			"version": textNode(in.Fleet.Version), "anchor": textNode(string(in.Fleet.Anchor)), "certificates": listNode(in.Fleet.Certificates),
			"keys": mapNode(in.Fleet.Keys), "expires": mapNode(in.Fleet.Expires), "keyExpiry": mapNode(in.Fleet.KeyExpiry)},
	}
	if concrete {
		given["platform"] = map[string]*node{"os": textNode(in.Platform.OS), "arch": textNode(in.Platform.Arch)}
		given["host"] = map[string]*node{}
		for name, v := range in.Host {
			given["host"][name] = textNode(v)
		}
	}
	all := &ast.StructLit{}
	for _, input := range slices.Sorted(maps.Keys(given)) {
		fields := &ast.StructLit{}
		for _, name := range p.inputs[input] {
			if v := given[input][name]; v != nil {
				fields.Elts = append(fields.Elts, &ast.Field{Label: label(name, token.NoPos), Value: v.expr()})
			}
		}
		if len(fields.Elts) > 0 {
			all.Elts = append(all.Elts, &ast.Field{Label: label(input, token.NoPos), Value: fields})
		}
	}
	if len(params) > 0 {
		fields := &ast.StructLit{}
		for _, name := range slices.Sorted(maps.Keys(params)) {
			if name != Enabled {
				fields.Elts = append(fields.Elts, &ast.Field{Label: label(name, params[name].node.pos), Value: params[name].node.expr()})
			}
		}
		all.Elts = append(all.Elts, &ast.Field{Label: label("params", token.NoPos), Value: fields})
	}
	if len(all.Elts) > 0 {
		*value = value.FillPath(pluginPath, ctx.BuildExpr(all))
	}
	return nil
}

func label(name string, at token.Pos) ast.Label {
	l := ast.NewString(name)
	l.ValuePos = at
	return l
}

func textNode(s string) *node { return &node{kind: cue.StringKind, text: s} }

func listNode(items []string) *node {
	n := &node{kind: cue.ListKind}
	for _, s := range items {
		n.fields = append(n.fields, textNode(s))
	}
	return n
}

func mapNode(m map[string]string) *node {
	n := &node{kind: cue.StructKind}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		n.names = append(n.names, k)
		n.fields = append(n.fields, textNode(m[k]))
	}
	return n
}
