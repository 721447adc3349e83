// Package engine evaluates CUE: a directory of files, unified with its definition of the published schema
// (schema/*.cue), into plain data; and a plugin, with its parameters filled in, into what it puts on a host. It is the
// only package that links CUE, with the one below it.
//
// Each directory is one CUE package and is evaluated by itself, in a context of its own, from an explicit list of
// files. No import but CUE's own packages is followed, and neither time nor the machine is visible, so equal files
// give equal data. The files may be hostile: evaluation is bounded, and what exceeds the bounds is an error.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Engine evaluates within limits. It keeps the plugins that it has met, each with a context of its own, and is safe for
// concurrent use.
type Engine struct {
	limits  Limits
	mu      sync.Mutex
	plugins map[*result.Source]*plugin
}

// New makes an engine.
func New(l Limits) *Engine { return &Engine{limits: l, plugins: map[*result.Source]*plugin{}} }

// Directory evaluates a directory. What is wrong with its files is in the result; the error is that evaluation exceeded
// its limits, or that ctx ended.
func (e *Engine) Directory(ctx context.Context, src *result.Source) (*result.Directory, error) {
	var out *result.Directory
	var opened *plugin
	// What the work writes is read only if it ended: after a time-out it goes on by itself.
	err := e.limits.bounded(ctx, func() {
		dir, ps := parseDir(src)
		out = &result.Directory{Package: dir.pkg, Problems: ps, Broken: true}
		if len(dir.files) == 0 {
			return
		}
		for _, f := range dir.files {
			out.Clauses = append(out.Clauses, f.clause)
		}
		if n := dir.data(src.Definition, e.limits.Nodes); n != nil {
			out.Broken, out.Value = false, n
			return
		}
		loose := src.Definition == result.PluginDefinition
		done := dir.evaluate(src.Definition, loose)
		for i := range done.ps {
			if done.ps[i].Pos.IsZero() { // such as a field that is missing at the top
				done.ps[i].Pos = dir.main()
			}
		}
		out.Problems, out.Broken = append(out.Problems, done.ps...), done.broken
		switch {
		case loose && !done.broken:
			opened = newPlugin(src.Path, done, e.limits)
			out.Plugin, out.Problems = &opened.Plugin, append(out.Problems, opened.declare(done)...)
		case !loose && done.raw.Err() == nil:
			n, err := toNode(done.raw, e.limits.Nodes)
			if err != nil && !done.broken {
				out.Broken = true
				out.Problems = append(out.Problems, fleet.Problem{Pos: fleet.Pos{File: src.Path}, Msg: err.Error()})
			}
			out.Value = n
		}
	})
	if err != nil {
		return nil, err
	}
	if opened != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.plugins[src] = opened
	}
	return out, nil
}

// Check says what is wrong with the value that a rule gives to a parameter of a plugin, for a fleet of which plugins
// may learn info.
func (e *Engine) Check(ctx context.Context, src *result.Source, info fleet.Info, name string,
	v fleet.Value) (fleet.Problems, error) {
	p, err := e.plugin(ctx, src)
	if err != nil {
		return nil, err
	}
	return p.check(ctx, info, name, v)
}

// Evaluate yields the sections of a plugin (files, services and so on; see Sections), and params with all values in
// force. params are those that rules set; the rest take their defaults. The error is a fleet.Problems if the plugin or
// the parameters are to blame.
func (e *Engine) Evaluate(ctx context.Context, src *result.Source, in fleet.Inputs,
	params map[string]fleet.Value) (*result.Node, error) {
	p, err := e.plugin(ctx, src)
	if err != nil {
		return nil, err
	}
	return p.evaluate(ctx, in, params)
}

// plugin opens a plugin unless it is open.
func (e *Engine) plugin(ctx context.Context, src *result.Source) (*plugin, error) {
	e.mu.Lock()
	p := e.plugins[src]
	e.mu.Unlock()
	if p != nil {
		return p, nil
	}
	d, err := e.Directory(ctx, src)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", nameOf(src.Path), err)
	}
	if d.Plugin == nil {
		return nil, errors.Join(fmt.Errorf("plugin %s: does not evaluate any more", nameOf(src.Path)), d.Problems.Err())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.plugins[src], nil
}
