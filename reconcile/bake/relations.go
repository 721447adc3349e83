package bake

import (
	"fmt"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// related is what all plugins together say of other packages, in that format.
func (l *layout) related(format schema.Format) (all fleet.RelationSet) {
	for _, r := range l.relations {
		all = all.Join(r.In(format))
	}
	if format == schema.Deb && len(l.capable()) > 0 {
		all = all.Join(fleet.RelationSet{Depends: []fleet.Relation{{Name: "libcap2-bin"}}})
	}
	return all
}

// debRelations is the fields of deb-control(5) that name other packages; empty if there are none.
func debRelations(r fleet.RelationSet) string {
	var b strings.Builder
	for _, field := range []struct {
		name string
		all  []fleet.Relation
	}{{"Depends", r.Depends}, {"Conflicts", r.Conflicts}, {"Replaces", r.Replaces}, {"Provides", r.Provides}} {
		if len(field.all) == 0 {
			continue
		}
		var words []string
		for _, one := range field.all {
			words = append(words, debRelation(one))
		}
		fmt.Fprintf(&b, "%s: %s\n", field.name, strings.Join(words, ", "))
	}
	return b.String()
}

// debRelation writes a relation as deb-control(5) has it: "<<" and ">>" are strict there.
func debRelation(r fleet.Relation) string {
	s := r.Name
	switch r.Op {
	case "":
	case "<", ">":
		s += fmt.Sprintf(" (%s %s)", r.Op+r.Op, r.Version)
	default:
		s += fmt.Sprintf(" (%s %s)", r.Op, r.Version)
	}
	for _, o := range r.Or {
		s += " | " + debRelation(o)
	}
	return s
}
