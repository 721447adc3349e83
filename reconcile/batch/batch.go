// Package batch bakes and signs many packages at a time: whatever a pass found to be new, or what is baked again to
// compare it. The first error ends the work, and nothing is begun after it.
package batch

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
)

// Baker bakes packages that a state of the repository wants.
type Baker struct {
	state    *desired.State
	store    bake.Store // where segments and source files are kept
	programs program.Places
	jobs     int       // packages at a time
	log      io.Writer // of progress

	HostsOf map[plan.Package][]string // who is to have it, in order
}

// New makes a baker of what s wants, which bakes that many packages at a time and shows its progress on log.
func New(s *desired.State, st bake.Store, programs program.Places, jobs int, log io.Writer) *Baker {
	b := &Baker{state: s, store: st, programs: programs, jobs: jobs, log: log,
		HostsOf: map[plan.Package][]string{}}
	for _, host := range slices.Sorted(maps.Keys(s.Hosts)) {
		key := s.Hosts[host].Package
		b.HostsOf[key] = append(b.HostsOf[key], host)
	}
	return b
}

// Each bakes the packages and hands each to take, several at a time and in no order. The first error ends it.
func (b *Baker) Each(ctx context.Context, want []plan.Package, take func(i int, b *bake.Baked) error) error {
	if len(want) == 0 {
		return nil
	}
	sources := b.programs.Sources(ctx, b.store, b.state.Files, b.state.Fleet)
	defer sources.Close()
	baker := bake.New(b.store, sources)
	defer baker.Close()
	progress := console.NewProgress(b.log, "baking", len(want))
	return Together(ctx, b.jobs, progress, len(want), func(ctx context.Context, i int) (string, error) {
		key := want[i]
		who := console.Hosts(b.HostsOf[key])
		recipe := b.state.Resolved.Recipes[key.Recipe]
		if recipe == nil {
			return "", fmt.Errorf(
				"%s has no package for a host whose package is published (`bakehouse check` names such hosts)", b.state.Name)
		}
		baked, err := baker.Bake(ctx, recipe, key.Format, b.state.Anchor())
		if err == nil {
			err = take(i, baked)
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", who, err)
		}
		return who, nil
	})
}

// Together does n pieces of work, jobs at a time; do says what it did. The first error ends the others, and once ctx
// ends none is begun.
func Together(
	ctx context.Context, jobs int, p *console.Progress, n int, do func(ctx context.Context, i int) (string, error),
) error {
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

// Jobs is how many packages to bake at a time when --jobs says so many: 0 means one per processor.
func Jobs(jobs int) (int, error) {
	if jobs < 0 {
		return 0, fault.Hint(fmt.Errorf("invalid --jobs %d", jobs),
			"set the number of packages to bake at a time, or leave it out for one per processor")
	}
	if jobs == 0 {
		return runtime.GOMAXPROCS(0), nil
	}
	return jobs, nil
}
