package fleet

import (
	"fmt"
	"regexp"
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
	all := slices.SortedFunc(slices.Values(slices.Concat(a, b)), func(x, y Relation) int { return strings.Compare(x.String(), y.String()) })
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

var (
	debPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:any|:native)?$`)
	rpmPackage = regexp.MustCompile(`^[A-Za-z0-9/_][A-Za-z0-9+._/:()-]*$`) // capabilities too: /bin/sh, perl(Carp), libc.so.6(GLIBC_2.4)
	anyVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:_-]*$`)
)

// parseRelation reads NAME or NAME OP VERSION, and for deb alternatives of these.
func parseRelation(s string, format schema.Format, kind string) (Relation, error) {
	if len(s) > 1000 || control(s) {
		return Relation{}, fmt.Errorf("it is too long or holds control characters")
	}
	alternatives := strings.Split(s, "|")
	if len(alternatives) > 1 && (format != "deb" || kind != "depends") {
		return Relation{}, fmt.Errorf("only what a deb depends on has alternatives")
	}
	var all []Relation
	for _, part := range alternatives {
		words := strings.Fields(part)
		if len(words) != 1 && len(words) != 3 {
			return Relation{}, fmt.Errorf("it is not NAME, or NAME and a version as in %q", "libc6 >= 2.31")
		}
		r := Relation{Name: words[0]}
		switch names := map[schema.Format]*regexp.Regexp{"deb": debPackage, "rpm": rpmPackage}; {
		case format == "" && (!debPackage.MatchString(r.Name) || strings.Contains(r.Name, ":")):
			return r, fmt.Errorf("%.80q is not a package's name in every format: say it under deb or rpm", r.Name)
		case format != "" && !names[format].MatchString(r.Name):
			return r, fmt.Errorf("%.80q is not a package's name", r.Name)
		}
		if len(words) == 3 {
			r.Op, r.Version = words[1], words[2]
			if !slices.Contains([]string{"<", "<=", "=", ">=", ">"}, r.Op) {
				return r, fmt.Errorf("%.80q is none of <, <=, =, >= and >", r.Op)
			}
			if !anyVersion.MatchString(r.Version) {
				return r, fmt.Errorf("%.80q is not a version", r.Version)
			}
			if kind == "provides" && r.Op != "=" {
				return r, fmt.Errorf("what is provided has one version, after \"=\"")
			}
		}
		all = append(all, r)
	}
	first := all[0]
	first.Or = all[1:]
	if len(first.Or) == 0 {
		first.Or = nil
	}
	return first, nil
}
