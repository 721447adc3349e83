package evaluate

import (
	"context"
	"fmt"
	"runtime/metrics"
	"slices"
	"time"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// limits bounds what hostile files can cost. CUE cannot be interrupted, so a directory that exceeds Time or Memory is
// left running in its goroutine and the caller gives up: right for a command, which then ends.
type limits struct {
	Time   time.Duration // per directory or evaluation
	Memory uint64        // heap of the whole process, in bytes
	File   int64         // bytes of one CUE file
	Nodes  int           // values in a directory
}

var defaultLimits = limits{Time: 30 * time.Second, Memory: 4 << 30, File: 8 << 20, Nodes: 4 << 20}

// bounded runs work, gives up on it when it exceeds the limits, and turns its panics into errors.
func (l limits) bounded(ctx context.Context, work func()) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("CUE fails on it: %v", r)
			}
		}()
		work()
		done <- nil
	}()
	deadline := time.NewTimer(l.Time)
	defer deadline.Stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("evaluation stopped: %w", context.Cause(ctx))
		case <-deadline.C:
			return fmt.Errorf("evaluation takes longer than %s", l.Time)
		case <-tick.C:
			if heap() > l.Memory {
				return fmt.Errorf("evaluation takes more than %d MB of memory", l.Memory>>20)
			}
		}
	}
}

func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// build compiles the directory in a context.
func (d *dir) build(ctx *cue.Context) (cue.Value, error) {
	inst := build.NewContext().NewInstance(d.path, nil)
	inst.PkgName = d.pkg
	for _, s := range d.files {
		f, err := parse(s.name, s.data)
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

// schemaPrefix starts the file names of the published schema in positions.
const schemaPrefix = "bakehouse:schema/"

// schemaDir is the published schema, as another directory.
var schemaDir = func() *dir {
	d := &dir{path: schemaPrefix, pkg: "schema"}
	entries, _ := schema.CUE.ReadDir(".")
	for _, e := range entries {
		data, _ := schema.CUE.ReadFile(e.Name())
		d.files = append(d.files, source{name: schemaPrefix + e.Name(), data: data})
	}
	return d
}()

// evaluated is a directory as written, and unified with its definition of the schema. It belongs to one goroutine.
type evaluated struct {
	*dir
	ctx    *cue.Context
	raw    cue.Value
	value  cue.Value
	ps     fleet.Problems
	broken bool // what follows would only repeat ps
}

// evaluate unifies d with a definition of the schema in a fresh context. Values must be concrete unless loose.
func (d *dir) evaluate(definition string, loose bool) *evaluated {
	e := &evaluated{dir: d, ctx: cuecontext.New()}
	var err error
	if e.raw, err = d.build(e.ctx); err != nil {
		e.ps, e.broken = problemsOf(err, e.raw), true
		return e
	}
	published, err := schemaDir.build(e.ctx)
	if err != nil {
		panic(err) // our own, and tested
	}
	def := published.LookupPath(cue.ParsePath(definition))
	e.value = def.Unify(e.raw)
	err = e.value.Validate(cue.Concrete(!loose))
	if err == nil && !loose {
		return e
	}
	// CUE may hold back what it thinks of a field whose value is still open.
	unknown := unknownFields(e.ctx, e.raw, def, nil)
	for _, l := range append(unknown, locate(err, e.raw)...) {
		if !slices.ContainsFunc(unknown, func(u located) bool { return inside(l.path, u.path) && l.Msg != u.Msg }) {
			e.ps = append(e.ps, l.Problem)
		}
	}
	e.broken = len(e.ps) > 0
	return e
}

// inside reports whether path is at or below another.
func inside(path, above []string) bool {
	return len(path) >= len(above) && slices.Equal(path[:len(above)], above)
}
