// Package confine has CUE evaluated by processes that may die of it.
//
// CUE cannot be interrupted, and what it computes can be as large as it likes: `bits.Lsh(1, 1e15)` ends a Go program.
// So an Engine starts the same program again, as many times as there are processors and not before something has to be
// evaluated, and sends it directories and plugins; plain data come back, which the caller caches. Such a process has an
// empty environment, opens no file, and is bounded in memory and time. It ends with its parent. If it dies, what it was
// evaluating is to blame, and more processes find the place: they evaluate the first half of the files' values, and so
// on, until it is known with which value it begins.
package confine

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Engine evaluates in other processes. It is safe for concurrent use.
type Engine struct {
	limits engine.Limits
	probe  engine.Limits // while the place is searched for
	search time.Duration // for all of the search

	mu   sync.Mutex
	keys map[*result.Source]string
	dead map[string]error // by key: what evaluation died of, so that it does not for each host
}

// New makes an engine; no process is started.
func New(l engine.Limits) *Engine {
	probe := l
	probe.Time, probe.Memory = l.Time/10, l.Memory/2
	return &Engine{limits: l, probe: probe, search: 20 * time.Second, keys: map[*result.Source]string{},
		dead: map[string]error{}}
}

// keyOf names the files and what they have to meet.
func (e *Engine) keyOf(src *result.Source) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if key, ok := e.keys[src]; ok {
		return key
	}
	h := sha256.New()
	for _, part := range []string{src.Path, src.Definition} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	for _, f := range src.Files {
		fmt.Fprintf(h, "%d:%s%d:", len(f.Name), f.Name, len(f.Data))
		h.Write(f.Data)
	}
	key := string(h.Sum(nil))
	if src.Definition == result.PluginDefinition { // the others are asked for once
		e.keys[src] = key
	}
	return key
}

// Directory evaluates a directory. What is wrong with its files, also that they exceed the limits, is in the result.
func (e *Engine) Directory(ctx context.Context, src *result.Source) (*result.Directory, error) {
	r := request{Op: opDirectory, Key: e.keyOf(src)}
	got, err := e.ask(ctx, src, r)
	if exceeded := (*exceededError)(nil); errors.As(err, &exceeded) {
		return &result.Directory{Broken: true, Problems: fleet.Problems{e.problem(ctx, src, r, exceeded)}}, nil
	}
	if err != nil {
		return nil, err
	}
	return result.Decode(string(got.Value))
}

// Check says what is wrong with the value that a rule gives to a parameter of a plugin.
func (e *Engine) Check(ctx context.Context, src *result.Source, info fleet.Info, name string,
	v fleet.Value) (fleet.Problems, error) {
	got, err := e.ask(ctx, src, request{Op: opCheck, Key: e.keyOf(src), In: fleet.Inputs{Fleet: info},
		Params: map[string]fleet.Value{name: v}})
	if err != nil {
		return nil, err
	}
	return got.Problems, nil
}

// Evaluate yields params and the sections of a plugin. The error is a fleet.Problems if the plugin or the parameters
// are to blame.
func (e *Engine) Evaluate(ctx context.Context, src *result.Source, in fleet.Inputs,
	params map[string]fleet.Value) (*result.Node, error) {
	r := request{Op: opEvaluate, Key: e.keyOf(src), In: in, Params: params}
	got, err := e.ask(ctx, src, r)
	if exceeded := (*exceededError)(nil); errors.As(err, &exceeded) {
		p := e.problem(ctx, src, r, exceeded)
		for _, v := range params {
			if len(p.Also) < 3 && !v.Pos.IsZero() {
				p.Also = append(p.Also, v.Pos)
			}
		}
		err = fleet.Problems{p}
		e.remember(r.Key, err)
		return nil, err
	}
	if err != nil {
		return nil, err
	}
	if len(got.Problems) > 0 {
		return nil, got.Problems
	}
	return result.DecodeNode(string(got.Value))
}

// exceededError is that evaluation exceeded its limits, or that the process died of it.
type exceededError struct{ why string }

func (e *exceededError) Error() string { return e.why }

func (e *Engine) remember(key string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead[key] = err
}

// ask has a process do it. The error is an *exceededError if that is due to what was to be evaluated.
func (e *Engine) ask(ctx context.Context, src *result.Source, r request) (*response, error) {
	e.mu.Lock()
	err := e.dead[r.Key]
	e.mu.Unlock()
	if err != nil {
		return nil, err
	}
	got, err := shared.ask(ctx, e.limits, src, r)
	if err == nil && got.Failed != "" {
		err = errors.New(got.Failed)
	}
	if exceeded := (*exceededError)(nil); errors.As(err, &exceeded) && r.Op == opCheck {
		err = fmt.Errorf("%s: %w", src.Path, err)
		e.remember(r.Key, err)
	}
	return got, err
}

// problem is where the values begin that cannot be evaluated within the limits.
func (e *Engine) problem(ctx context.Context, src *result.Source, r request, why *exceededError) fleet.Problem {
	p := fleet.Problem{Pos: fleet.Pos{File: src.Path}, Msg: why.Error(),
		Hint: "look for large numbers, for large disjunctions and for references that multiply, here or in what is " +
			"used here"}
	ctx, cancel := context.WithTimeout(ctx, e.search)
	defer cancel()
	alone := &pool{slots: make(chan struct{}, 1)} // of processes with other limits, which die here
	defer alone.close()
	listed, err := alone.ask(ctx, e.probe, src, request{Op: opParts})
	if err != nil || len(listed.Parts) == 0 {
		return p
	}
	p.Pos = listed.Parts[0]
	fine, bad := 0, len(listed.Parts) // with so many values, the rest left out, it is, or it is not
	for bad-fine > 1 {
		some := *src
		some.Parts = (fine + bad) / 2
		r.Key = fmt.Sprint(some.Parts)
		_, err := alone.ask(ctx, e.probe, &some, r)
		if exceeded := (*exceededError)(nil); errors.As(err, &exceeded) {
			bad = some.Parts
		} else if ctx.Err() != nil {
			break
		} else {
			fine = some.Parts
		}
	}
	p.Pos = listed.Parts[bad-1]
	return p
}
