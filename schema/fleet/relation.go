package fleet

import (
	"slices"
	"strings"

	"bakehouse/schema"
)

// Relations are what a plugin says of other packages of the system.
type Relations struct {
	All RelationSet `json:"all,omitzero"` // whatever the format
	Deb RelationSet `json:"deb,omitzero"` // these besides
	RPM RelationSet `json:"rpm,omitzero"`
}

// RelationSet is relations by kind, each sorted. An rpm calls depends Requires, and replaces Obsoletes.
type RelationSet struct {
	Depends   []Relation `json:"depends,omitempty"`
	Conflicts []Relation `json:"conflicts,omitempty"`
	Replaces  []Relation `json:"replaces,omitempty"`
	Provides  []Relation `json:"provides,omitempty"`
}

// Relation is a package that is needed or not wanted. Or are alternatives, which only a deb has.
type Relation struct {
	Name    string     `json:"name"`
	Op      string     `json:"op,omitempty"` // one of < <= = >= >; empty: any version
	Version string     `json:"version,omitempty"`
	Or      []Relation `json:"or,omitempty"`
}

// In are the relations of a package of that format.
func (r Relations) In(format schema.Format) RelationSet {
	own := map[schema.Format]RelationSet{"deb": r.Deb, "rpm": r.RPM}[format]
	return RelationSet{}.Join(r.All, own)
}

// Join is r with the relations of others, each once.
func (r RelationSet) Join(others ...RelationSet) RelationSet {
	for _, o := range others {
		r.Depends = join(r.Depends, o.Depends)
		r.Conflicts = join(r.Conflicts, o.Conflicts)
		r.Replaces = join(r.Replaces, o.Replaces)
		r.Provides = join(r.Provides, o.Provides)
	}
	return r
}

func join(a, b []Relation) []Relation {
	all := slices.SortedFunc(slices.Values(slices.Concat(a, b)),
		func(x, y Relation) int { return strings.Compare(x.String(), y.String()) })
	return slices.CompactFunc(all, func(x, y Relation) bool { return x.String() == y.String() })
}

// String is r as a plugin writes it.
func (r Relation) String() string {
	s := r.Name
	if r.Op != "" {
		s += " " + r.Op + " " + r.Version
	}
	for _, o := range r.Or {
		s += " | " + o.String()
	}
	return s
}

// IsZero reports whether there is none at all.
func (r RelationSet) IsZero() bool {
	return len(r.Depends)+len(r.Conflicts)+len(r.Replaces)+len(r.Provides) == 0
}
