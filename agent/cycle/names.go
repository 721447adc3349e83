package cycle

import (
	"maps"
	"slices"

	"bakehouse/schema/keeps"
	"bakehouse/schema/plain"
)

const (
	maxRuns   = 3  // that names are remembered of
	maxSees   = 16 // plugins
	maxAiling = 64
)

// Sees is the names that a plugin's monitoring printed in its last runs, all of the package that is accepted.
type Sees struct {
	Plugin string           `json:"plugin"`
	Keeps  string           `json:"keeps"` // keeps.Keeps.ID
	Runs   int              `json:"runs"`  // how many are known, up to maxRuns
	Names  map[string]uint8 `json:"names"` // the runs that had it, the last as the lowest bit
}

// Seen is one run. One that Failed says nothing of what is there.
type Seen struct {
	Plugin, Keeps string
	Names         []string
	Failed        bool
}

// sees finds what is remembered of a plugin; nil: nothing that can be compared.
func (s *State) sees(plugin, id string) *Sees {
	for i := range s.Sees {
		if s.Sees[i].Plugin == plugin && s.Sees[i].Keeps == id {
			return &s.Sees[i]
		}
	}
	return nil
}

// RunsWanted is how many more runs make what is known of a plugin enough, one at least: what is there now counts.
func (s *State) RunsWanted(plugin, id string) int {
	known := 0
	if is := s.sees(plugin, id); is != nil {
		known = is.Runs
	}
	return max(1, maxRuns-known)
}

// Common is the names that all runs had that are known of a plugin, sorted.
func (s *State) Common(plugin, id string) (names []string) {
	is := s.sees(plugin, id)
	if is == nil {
		return nil
	}
	all := uint8(1)<<is.Runs - 1
	for name, runs := range is.Names {
		if runs&all == all {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// see adds runs to what is remembered, in their order; what they do not speak of is forgotten. After a run that failed
// nothing is known of a plugin: what cannot be seen before an update is not missed after it.
func (s *State) see(runs []Seen) {
	var out []Sees
	for _, run := range runs {
		i := slices.IndexFunc(out, func(o Sees) bool { return o.Plugin == run.Plugin })
		if i < 0 {
			i = len(out)
			out = append(out, Sees{Plugin: run.Plugin, Keeps: run.Keeps})
			if old := s.sees(run.Plugin, run.Keeps); old != nil {
				out[i] = *old
			}
		}
		if out[i] = out[i].with(run); run.Failed {
			out[i].Runs, out[i].Names = 0, nil
		}
	}
	s.Sees = slices.DeleteFunc(out, func(o Sees) bool { return o.Runs == 0 })
}

func (s Sees) with(run Seen) Sees {
	names := map[string]uint8{}
	for name, runs := range s.Names {
		if runs = runs << 1 & (1<<maxRuns - 1); runs != 0 {
			names[name] = runs
		}
	}
	for _, name := range run.Names {
		names[name] |= 1
	}
	s.Runs, s.Names = min(s.Runs+1, maxRuns), names
	return s
}

// boundedSees drops what no look at a host yields. Names are cut as keeps.In cuts them.
func boundedSees(list []Sees) []Sees {
	list = slices.Clone(list[:min(len(list), maxSees)])
	for i := range list {
		list[i].Plugin, list[i].Keeps = plain.Name(list[i].Plugin), plain.Name(list[i].Keeps)
		list[i].Runs = min(max(list[i].Runs, 0), maxRuns)
		size, names := 0, make(map[string]uint8, len(list[i].Names))
		for _, name := range slices.Sorted(maps.Keys(list[i].Names)) {
			if size += len(name) + 1; size > maxRuns*keeps.MaxNames {
				break
			}
			names[plain.Name(name)] = list[i].Names[name]
		}
		list[i].Names = names
	}
	return list
}
