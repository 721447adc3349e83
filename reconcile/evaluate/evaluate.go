// Package evaluate turns the CUE files of a config repo into a fleet.Fleet, or into a list of every error in them, each at
// its file, line and column.
//
// Each directory is one CUE package and is evaluated by itself, in a context of its own, from an explicit list of
// files: fleet.cue and its neighbours, keys/, sites/, every folder under hosts/ and every plugin. A directory is
// unified with its part of the published schema (schema/*.cue) and read into Go; what crosses directories is checked
// here: a rule against its plugin's parameters, a host against the sites, names against one another. Plugins stay CUE:
// Repo.Output fills in parameters and yields files, services, scripts and a health check.
//
// Nothing is read but the fs.FS, no import but CUE's own packages is followed, and neither time nor the machine is
// visible, so equal files give equal fleets. The files may be hostile: evaluation is bounded and names the directory
// that exceeds the bound.
package evaluate

import (
	"context"
	"io/fs"
	"slices"

	"bakehouse/schema/fleet"
)

// Repo is a config repo, evaluated: its fleet, and its plugins, which yield what they put on hosts. It implements
// rules.Evaluator, and is safe for concurrent use.
type Repo struct {
	*fleet.Fleet
	plugins map[string]*plugin // those of the fleet
}

// Load evaluates the config repo whose top is fsys. The error is a fleet.Problems with every error, unless the repo could
// not be read at all or ctx ended.
func Load(ctx context.Context, fsys fs.FS) (*Repo, error) {
	return load(ctx, fsys, defaultLimits, nil)
}

// Load is like the function Load, and takes from the cache what has been evaluated before.
func (c *Cache) Load(ctx context.Context, fsys fs.FS) (*Repo, error) {
	return load(ctx, fsys, defaultLimits, c)
}

// LoadTop is Load of fleet.cue, its neighbours, keys/ and trust/ alone. What refers to other folders is not checked, and
// Hosts, Plugins and Sites are not read, so it is quick in a repo of any size.
func LoadTop(ctx context.Context, fsys fs.FS) (*fleet.Fleet, error) {
	ld := newLoader(fsys, defaultLimits)
	jobs, err := ld.discover()
	if err != nil {
		return nil, err
	}
	jobs = slices.DeleteFunc(jobs, func(j *job) bool { return j.definition != "#Root" && j.definition != "#Keys" })
	if err := ld.evaluate(ctx, jobs); err != nil {
		return nil, err
	}
	return ld.fleet, ld.ps.Err()
}

// Shipped loads the plugins that come with the tool, whether or not a fleet has rules for them.
func Shipped(ctx context.Context) (map[string]*fleet.Plugin, error) {
	ld := newLoader(shipped, defaultLimits)
	for _, name := range ShippedNames() {
		ld.wanted[name] = true
	}
	if err := ld.evaluate(ctx, ld.shippedJobs()); err != nil {
		return nil, err
	}
	return ld.fleet.Plugins, ld.ps.Err()
}

// Output yields what a plugin of the fleet puts on a host. params are those that rules set; the rest take their defaults.
// The error is a fleet.Problems if the plugin or the parameters are to blame.
func (r *Repo) Output(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (*fleet.Output, error) {
	return r.plugins[plugin].output(ctx, params, in)
}

// Settings are all parameters of a plugin of the fleet with their values in force, defaults included.
func (r *Repo) Settings(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (map[string]fleet.Value, error) {
	return r.plugins[plugin].settings(ctx, params, in)
}
