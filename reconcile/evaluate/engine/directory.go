package engine

import (
	"path"
	"slices"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"

	"bakehouse/schema/fleet"
)

// published is the published schema, as another directory.
var published = func() *dir {
	d := &dir{path: schemaPrefix, pkg: "schema"}
	for _, f := range schemaFiles {
		d.files = append(d.files, file{File: f})
	}
	return d
}()

// main is where to look for what is said of the directory as a whole: fleet.cue at the top, plugin.cue, or another
// file.
func (d *dir) main() fleet.Pos {
	for _, f := range d.files {
		if name := path.Base(f.Name); name == "fleet.cue" || name == "plugin.cue" {
			return f.clause
		}
	}
	return d.files[0].clause
}

// build compiles the directory in a context.
func (d *dir) build(ctx *cue.Context) (cue.Value, error) {
	inst := build.NewContext().NewInstance(d.path, nil)
	inst.PkgName = d.pkg
	some := d.parts
	for _, s := range d.files {
		f, err := parse(s.Name, s.Data)
		if err == nil && some.keep > 0 {
			some.decls(f.Decls)
		}
		if err == nil {
			err = inst.AddSyntax(f)
		}
		if err != nil {
			return cue.Value{}, err
		}
	}
	v := ctx.BuildInstance(inst)
	return v, v.Err()
}

// evaluated is a directory as written, and unified with its definition of the schema. It belongs to one goroutine.
type evaluated struct {
	*dir
	ctx    *cue.Context
	raw    cue.Value
	value  cue.Value
	ps     fleet.Problems
	broken bool // what follows would only repeat ps
}

// evaluate unifies d with a definition of the schema in a fresh context. Values must be concrete unless loose: then
// they may depend on what is filled in later.
func (d *dir) evaluate(definition string, loose bool) *evaluated {
	e := &evaluated{dir: d, ctx: cuecontext.New()}
	var err error
	if e.raw, err = d.build(e.ctx); err != nil {
		e.ps, e.broken = problemsOf(err, e.raw), true
		return e
	}
	schema, err := published.build(e.ctx)
	if err != nil {
		panic(err) // our own, and tested
	}
	def := schema.LookupPath(cue.ParsePath(definition))
	e.value = def.Unify(e.raw)
	err = e.value.Validate(cue.Concrete(!loose))
	if err == nil && !loose {
		return e
	}
	// CUE may hold back what it thinks of a field whose value is still open.
	unknown := unknownFields(e.ctx, e.raw, def, nil)
	for _, l := range append(unknown, locate(err, e.raw)...) {
		if !slices.ContainsFunc(unknown, func(u located) bool { return inside(l.path, u.path) && l.Msg != u.Msg }) {
			e.ps = append(e.ps, withRange(l.Problem, partAt(def, names(l.path))))
		}
	}
	e.broken = len(e.ps) > 0
	return e
}
