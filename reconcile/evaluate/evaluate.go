// Package evaluate turns the CUE files of a config repo into a fleet.Fleet, or into a list of every error in them, each
// at its file, line and column.
//
// It lists the directories (fleet.cue and its neighbours, keys/, sites/, every directory under hosts/ and every
// plugin), and an Engine evaluates each by itself into plain data, which a cache keeps. The data is read into Go, and
// what crosses directories is checked here: a rule against its plugin's parameters, a host against the sites, names
// against one another. What a plugin puts on a host is evaluated when rules ask for it, by Repo.Output.
//
// Subpackages: engine evaluates CUE, in processes that confine starts; result is the data that crosses; cache keeps it;
// output reads what a plugin yields; sources, sourcefile and archive read the files of the repo that packages ship.
//
// Nothing is read but the fs.FS, and neither time nor the machine is visible, so equal files give equal fleets.
package evaluate

import (
	"context"
	"io/fs"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/evaluate/confine"
	"bakehouse/reconcile/evaluate/engine"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/reconcile/evaluate/sources"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Load evaluates the config repo whose top is fsys, and takes from the cache, which may be nil, what has been evaluated
// before. The error is a fleet.Problems with every error, unless the repo could not be read at all or ctx ended; after
// an error in fleet.cue, its neighbours, keys/ or sites/, neither hosts nor plugins are evaluated.
func Load(ctx context.Context, fsys fs.FS, c *cache.Cache) (*Repo, error) {
	return load(ctx, fsys, c, confine.New(engine.DefaultLimits))
}

func load(ctx context.Context, fsys fs.FS, c *cache.Cache, e Engine) (*Repo, error) {
	ld := newLoader(fsys, c, e)
	jobs, err := ld.discover()
	if err != nil {
		return nil, err
	}
	// What is small and concerns the whole fleet comes first: a mistake in it need not wait for every host.
	before := len(ld.ps)
	if err := ld.evaluate(ctx, jobs.only("#Root", "#Keys", "#Sites")); err != nil {
		return nil, err
	}
	if ld.checkReferences(); len(ld.ps) > before {
		return nil, ld.err()
	}
	if err := ld.evaluate(ctx, jobs.only(result.FolderDefinition, result.PluginDefinition)); err != nil {
		return nil, err
	}
	ld.wantNamed()
	// Which of the shipped plugins are needed is known now.
	if err := ld.evaluate(ctx, ld.shippedJobs()); err != nil {
		return nil, err
	}
	ld.finish()
	if err := ld.checkParams(ctx); err != nil {
		return nil, err
	}
	if err := ld.err(); err != nil {
		return nil, err
	}
	ld.fleet.Warnings = ld.fleet.Warnings.WithoutTexts(ld.fleet.Secrets()).Sorted()
	return &Repo{ld.fleet, ld.plugins, ld.engine, ld.cache, sources.New(fsys, c)}, nil
}

// LoadTop is Load of fleet.cue, its neighbours, keys/ and trust/ alone. What refers to other directories is not
// checked, and Hosts, Plugins and Sites are not read, so it is quick in a repo of any size.
func LoadTop(ctx context.Context, fsys fs.FS) (*fleet.Fleet, error) {
	ld := newLoader(fsys, nil, confine.New(engine.DefaultLimits))
	jobs, err := ld.discover()
	if err != nil {
		return nil, err
	}
	if err := ld.evaluate(ctx, jobs.only("#Root", "#Keys")); err != nil {
		return nil, err
	}
	return ld.fleet, ld.err()
}

// LoadPins is what a file of the top says of host programs, and reads no other. What is wrong with a pin may stand: the
// caller is about to replace it.
func LoadPins(ctx context.Context, file string, text []byte) (map[string]fleet.Program, error) {
	d, err := confine.New(engine.DefaultLimits).Directory(ctx, &result.Source{Path: ".", Definition: "#Pins",
		Files: []result.File{{Name: file, Data: text}}})
	if err != nil {
		return nil, err
	}
	if len(d.Problems) > 0 {
		return nil, d.Problems
	}
	pins := map[string]fleet.Program{}
	for platform, v := range d.Tree().Get("programs").Fields() {
		sum, err := schema.ParseDigest(v.Get("sha256").Str())
		if err != nil {
			return nil, fleet.Problems{{Pos: v.At(), Msg: err.Error()}}
		}
		pins[platform] = fleet.Program{Version: v.Get("version").Str(), SHA256: sum}
	}
	return pins, nil
}

// Shipped loads the plugins that come with the tool, whether or not a fleet has rules for them.
func Shipped(ctx context.Context) (map[string]*fleet.Plugin, error) {
	ld := newLoader(shipped, nil, confine.New(engine.DefaultLimits))
	for _, name := range ShippedNames() {
		ld.wanted[name] = true
	}
	if err := ld.evaluate(ctx, ld.shippedJobs()); err != nil {
		return nil, err
	}
	return ld.fleet.Plugins, ld.err()
}
