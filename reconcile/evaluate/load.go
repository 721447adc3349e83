package evaluate

import (
	"cmp"
	"context"
	"io/fs"
	"runtime"
	"sync"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// loader evaluates the directories of a repo and has a builder make a fleet of them.
type loader struct {
	*builder
	fsys    fs.FS
	cache   *cache.Cache
	engine  Engine
	plugins map[string]*plugin
	named   map[string]clauses // the packages of what is evaluated, by path
}

func newLoader(fsys fs.FS, c *cache.Cache, e Engine) *loader {
	return &loader{builder: newBuilder(fsys), fsys: fsys, cache: c, engine: e, plugins: map[string]*plugin{},
		named: map[string]clauses{}}
}

// evaluate runs the jobs and takes what they yield.
func (ld *loader) evaluate(ctx context.Context, jobs []*job) error {
	ld.runAll(ctx, jobs)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	refuseClauses(jobs, ld.named)
	for _, j := range jobs {
		ld.ps = append(ld.ps, j.ps...)
		switch {
		case j.done == nil && len(j.ps) == 0:
			j.take(nil)
		case j.done != nil && !j.done.Broken:
			j.take(j.done)
		case j.plugin != "":
			ld.failed[j.plugin] = true
		case j.definition == "#Sites":
			ld.sitesUnread = true
		case j.definition == result.FolderDefinition && j.done != nil:
			ld.salvage(j.done.Value)
		}
		j.done = nil // a tree of every host is large
	}
	return nil
}

// runAll runs the jobs, as many at a time as there are processors.
func (ld *loader) runAll(ctx context.Context, jobs []*job) {
	next := make(chan *job)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range next {
				ld.run(ctx, j)
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		next <- j
	}
	close(next)
	workers.Wait()
}

// run takes a directory from the cache, or has it evaluated. What did not evaluate without a complaint is not kept.
func (ld *loader) run(ctx context.Context, j *job) {
	const kind = "directory"
	var d *directory
	d, j.ps = newDirectory(cmp.Or(j.fsys, ld.fsys), j.path, j.entries)
	if len(d.names) == 0 {
		return
	}
	if ld.cache != nil && len(j.ps) == 0 {
		j.key = d.key(j.definition)
	}
	if j.key != nil {
		if kept, ok := ld.cache.Find(kind, j.key...); ok {
			if done, err := result.Decode(kept); err == nil {
				j.done, j.source = done, sync.OnceValues(func() (*result.Source, error) {
					src, ps := d.source(j.definition)
					return src, ps.Err()
				})
				return
			}
		}
	}
	src, ps := d.source(j.definition)
	j.source = func() (*result.Source, error) { return src, nil }
	if j.ps = append(j.ps, ps...); len(src.Files) == 0 {
		return
	}
	done, err := ld.engine.Directory(ctx, src)
	if err != nil {
		j.ps = fleet.Problems{{Pos: fleet.Pos{File: j.path}, Msg: err.Error(),
			Hint: "simplify the files of this folder: look for large disjunctions and for references that multiply"}}
		return
	}
	j.done, j.ps = done, append(j.ps, done.Problems...)
	if j.key != nil && len(j.ps) == 0 {
		ld.cache.Keep(result.Encode(done), kind, j.key...)
	}
}
