package hosts

import (
	"cmp"
	"maps"
	"slices"
	"strconv"

	"bakehouse/schema"
)

// Counts are of the hosts that exist for who asks.
type Counts struct {
	Total    int           // of the fleet
	State    map[State]int // zero is left out; NotInGit is not of the fleet
	Ring     map[string]map[State]int
	Site     map[string]map[State]int
	Release  map[int64]int // installed, of the fleet's hosts; 0: nothing of the fleet's
	Newest   int           // up to date with the newest release
	Programs map[string]int
	Groups   []Group // the most urgent first
}

// Group counts hosts that wait, or need a look, for the same reason.
type Group struct {
	State State
	Code  string
	Cause string // an error, or a site
	Hosts int
}

// Counts counts hosts: by counters, for who sees all of them.
func (t *Table) Counts(f Filter) Counts {
	t.mu.RLock()
	defer t.mu.RUnlock()
	c := Counts{State: map[State]int{}, Ring: map[string]map[State]int{}, Site: map[string]map[State]int{},
		Release: map[int64]int{}, Programs: map[string]int{}}
	groups := map[group]int{}
	if f.Sees == nil {
		for cell, n := range t.cells {
			c.add(t, cell, n)
		}
		maps.Copy(c.Programs, t.programs)
		groups = t.groups
	} else {
		visible := t.scope(f.Key, f.Sees)
		cells := map[cell]int{}
		for i, e := range t.rows {
			if e.gone || e.verdict == "" || !visible[i] {
				continue
			}
			cells[e.cell]++
			c.Programs[e.program]++
			if e.group != (group{}) {
				groups[e.group]++
			}
		}
		for cell, n := range cells {
			c.add(t, cell, n)
		}
	}
	for g, n := range groups {
		c.Groups = append(c.Groups, Group{g.state, g.code, g.cause, n})
	}
	slices.SortFunc(c.Groups, func(a, b Group) int {
		return cmp.Or(cmp.Compare(ranks[a.State], ranks[b.State]), cmp.Compare(a.Code, b.Code), cmp.Compare(b.Hosts,
			a.Hosts),
			cmp.Compare(a.Cause, b.Cause))
	})
	return c
}

func (c *Counts) add(t *Table, at cell, n int) {
	state := State(t.dims[byState].name[at[byState]])
	c.State[state] += n
	if state == NotInGit {
		return
	}
	c.Total += n
	for d, m := range map[int]map[string]map[State]int{byRing: c.Ring, bySite: c.Site} {
		v := t.dims[d].name[at[d]]
		if m[v] == nil {
			m[v] = map[State]int{}
		}
		m[v][state] += n
	}
	release, _ := strconv.ParseInt(t.dims[byRelease].name[at[byRelease]], 10, 64) // "none" is 0
	if c.Release[release] += n; release == t.newest && state == UpToDate {
		c.Newest += n
	}
}

// Targets are how many hosts are meant to have each package. It must not be changed.
func (t *Table) Targets() map[schema.Digest]int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.packages
}

// Installed are the packages that hosts report to have, with how many do.
func (t *Table) Installed() map[schema.Digest]int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := map[schema.Digest]int{}
	for _, e := range t.rows {
		if d := e.installed.Value(); !e.gone && !d.IsZero() {
			m[d]++
		}
	}
	return m
}

// Cell is how many hosts are in a state, in a ring, with an installed release.
type Cell struct {
	State         State
	Ring, Release string // None: in none, nothing of the fleet's
	Hosts         int
}

// Cells counts hosts as Counts does.
func (t *Table) Cells(f Filter) (list []Cell) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := map[Cell]int{}
	add := func(at cell, n int) {
		name := func(d int) string { return t.dims[d].name[at[d]] }
		m[Cell{State: State(name(byState)), Ring: name(byRing), Release: name(byRelease)}] += n
	}
	if f.Sees == nil {
		for at, n := range t.cells {
			add(at, n)
		}
	} else {
		visible := t.scope(f.Key, f.Sees)
		for i, e := range t.rows {
			if !e.gone && e.verdict != "" && visible[i] {
				add(e.cell, 1)
			}
		}
	}
	for c, n := range m {
		c.Hosts = n
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Cell) int {
		return cmp.Or(cmp.Compare(a.State, b.State), cmp.Compare(a.Ring, b.Ring), cmp.Compare(a.Release, b.Release))
	})
	return list
}
