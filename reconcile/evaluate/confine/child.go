package confine

import (
	"context"
	"encoding/gob"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// name is what such a process is called by its parent, in the place of the program's name.
const name = "bakehouse-evaluates-cue"

// init makes a process that is called so evaluate CUE and end: in the program and in each test that links it alike.
func init() {
	if len(os.Args) == 1 && os.Args[0] == name {
		if err := serve(os.Stdin, os.Stdout); err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// What is asked of a process.
const (
	opDirectory = iota
	opParts
	opCheck
	opEvaluate
)

// request is one thing to evaluate. A process knows a plugin by its Key after it was sent once.
type request struct {
	Op     int
	Key    string
	Source *result.Source // nil: as before
	Forget bool           // the sources of before
	In     fleet.Inputs
	Params map[string]fleet.Value
}

// response is what it evaluated to, in the form of bytes.
type response struct {
	Value    []byte
	Problems fleet.Problems
	Parts    []fleet.Pos
	Failed   string
	Exceeded bool // its limits: the process ends
}

// serve answers requests until in ends, which is when the parent does.
func serve(in io.Reader, out io.Writer) error {
	// A terminal sends these to all processes of a command; the parent decides.
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	from, to := gob.NewDecoder(in), gob.NewEncoder(out)
	var l engine.Limits
	if err := from.Decode(&l); err != nil {
		return err
	}
	debug.SetMemoryLimit(int64(l.Memory))
	debug.SetGCPercent(400) // a folder's heap is small and soon garbage, and the limit is far
	if err := limitMemory(l.Memory); err != nil {
		return err
	}
	requests := make(chan request)
	go func() {
		for {
			var r request
			if err := from.Decode(&r); err != nil {
				os.Exit(0) // whatever is being evaluated
			}
			requests <- r
		}
	}()
	e, known := engine.New(l), map[string]*result.Source{}
	for r := range requests {
		if r.Forget {
			e, known = engine.New(l), map[string]*result.Source{}
		}
		src := r.Source
		if src == nil {
			src = known[r.Key]
		} else if r.Key != "" && src.Definition == result.PluginDefinition {
			known[r.Key] = src
		}
		got := answer(e, src, r)
		if err := to.Encode(got); err != nil {
			return err
		}
		if got.Exceeded {
			return nil
		}
	}
	return nil
}

func answer(e *engine.Engine, src *result.Source, r request) (got response) {
	ctx := context.Background()
	var err error
	switch r.Op {
	case opDirectory:
		var d *result.Directory
		if d, err = e.Directory(ctx, src); err == nil {
			got.Value = result.Encode(d)
		}
	case opParts:
		got.Parts = engine.Parts(src)
	case opCheck:
		for name, v := range r.Params {
			got.Problems, err = e.Check(ctx, src, r.In.Fleet, name, v)
		}
	case opEvaluate:
		var n *result.Node
		if n, err = e.Evaluate(ctx, src, r.In, r.Params); err == nil {
			got.Value = result.EncodeNode(n)
		} else if errors.As(err, &got.Problems) {
			err = nil
		}
	}
	if err != nil {
		got.Failed, got.Exceeded = err.Error(), errors.Is(err, engine.ErrExceeded)
	}
	return got
}
