package reconcile

import (
	"context"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/schema/fault"

	"github.com/spf13/cobra"
)

// oven bakes packages that a state of the repository wants.
type oven struct {
	state    *desired.State
	store    bake.Store // where segments and source files are kept
	programs program.Places
	jobs     int       // packages at a time
	log      io.Writer // of progress
	hostsOf  map[plan.Package][]string
}

func newOven(s *desired.State, st bake.Store, programs program.Places, jobs int, log io.Writer) *oven {
	o := &oven{state: s, store: st, programs: programs, jobs: jobs, log: log, hostsOf: map[plan.Package][]string{}}
	for _, host := range slices.Sorted(maps.Keys(s.Hosts)) {
		key := s.Hosts[host].Package
		o.hostsOf[key] = append(o.hostsOf[key], host)
	}
	return o
}

// each bakes the packages and hands each to take, several at a time and in no order. The first error ends it.
func (o *oven) each(ctx context.Context, want []plan.Package, take func(i int, b *bake.Baked) error) error {
	if len(want) == 0 {
		return nil
	}
	sources := o.programs.Sources(ctx, o.store, o.state.Files, o.state.Fleet)
	defer sources.Close()
	baker := bake.New(o.store, sources)
	defer baker.Close()
	return together(ctx, o.jobs, console.NewProgress(o.log, "baking", len(want)), len(want), func(ctx context.Context, i int) (string, error) {
		key := want[i]
		who := console.Hosts(o.hostsOf[key])
		recipe := o.state.Resolved.Recipes[key.Recipe]
		if recipe == nil {
			return "", fmt.Errorf("%s has no package for a host whose package is published (`bakehouse check` names such hosts)", o.state.Name)
		}
		b, err := baker.Bake(ctx, recipe, key.Format, o.state.Anchor())
		if err == nil {
			err = take(i, b)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", who, err)
		}
		return who, nil
	})
}

// together does n pieces of work, jobs at a time; do says what it did. The first error ends the others, and once ctx ends
// none is begun.
func together(ctx context.Context, jobs int, p *console.Progress, n int, do func(ctx context.Context, i int) (string, error)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer p.End()
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(jobs, n) {
		wg.Go(func() {
			for i := range next {
				if ctx.Err() != nil {
					continue
				}
				what, err := do(ctx, i)
				if err != nil {
					cancel(err)
					continue
				}
				p.Step(what)
			}
		})
	}
feed:
	for i := range n {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// jobsFlag adds --jobs.
func jobsFlag(cmd *cobra.Command, jobs *int) {
	cmd.Flags().IntVar(jobs, "jobs", 0, "how many packages to bake at a time (default one per processor)")
}

// jobCount is what --jobs asks for.
func jobCount(jobs int) (int, error) {
	if jobs < 0 {
		return 0, fault.Hint(fmt.Errorf("--jobs %d", jobs), "give a number of packages to bake at a time, or leave it out for one per processor")
	}
	if jobs == 0 {
		return runtime.GOMAXPROCS(0), nil
	}
	return jobs, nil
}
