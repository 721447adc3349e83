package evaluate

import (
	"io/fs"
	"slices"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// job is a directory to evaluate. take reads the result into the fleet, one job at a time, in order of paths; the
// result is nil if the directory has no CUE files.
type job struct {
	fsys       fs.FS // nil: the repo
	path       string
	entries    []fs.DirEntry
	definition string
	plugin     string // the name of the plugin, if it is one
	take       func(*result.Directory)

	done   *result.Directory
	ps     fleet.Problems
	source func() (*result.Source, error)
	key    []string // names the result in the cache; nil: it is not kept
}

type jobs []*job

// only are those with one of the definitions, in their order.
func (all jobs) only(definitions ...string) (some jobs) {
	for _, j := range all {
		if slices.Contains(definitions, j.definition) {
			some = append(some, j)
		}
	}
	return some
}
