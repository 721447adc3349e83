package output

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

var (
	debPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+(:any|:native)?$`)
	// capabilities too: /bin/sh, perl(Carp), libc.so.6(GLIBC_2.4)
	rpmPackage = regexp.MustCompile(`^[A-Za-z0-9/_][A-Za-z0-9+._/:()-]*$`)
	anyVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:_-]*$`)
)

// parseRelation reads NAME or NAME OP VERSION, and for deb alternatives of these.
func parseRelation(s string, format schema.Format, kind string) (fleet.Relation, error) {
	if len(s) > 1000 || control(s) {
		return fleet.Relation{}, fmt.Errorf("it is too long or holds control characters")
	}
	alternatives := strings.Split(s, "|")
	if len(alternatives) > 1 && (format != "deb" || kind != "depends") {
		return fleet.Relation{}, fmt.Errorf("only what a deb depends on has alternatives")
	}
	var all []fleet.Relation
	for _, part := range alternatives {
		words := strings.Fields(part)
		if len(words) != 1 && len(words) != 3 {
			return fleet.Relation{}, fmt.Errorf("it is not NAME, or NAME and a version as in %q", "libc6 >= 2.31")
		}
		r := fleet.Relation{Name: words[0]}
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

func (d *decoder) relations(n *result.Node) fleet.Relations {
	return fleet.Relations{All: d.relationSet(n, ""), Deb: d.relationSet(n.Get("deb"), "deb"),
		RPM: d.relationSet(n.Get("rpm"), "rpm")}
}

func (d *decoder) relationSet(n *result.Node, format schema.Format) fleet.RelationSet {
	read := func(kind string) (out []fleet.Relation) {
		list := n.Get(kind)
		if list == nil {
			return nil
		}
		for _, item := range list.Parts {
			r, err := parseRelation(item.Text, format, kind)
			if err != nil {
				d.refuse(item, "relations: %s %s: %v", kind, result.Quote(item.Text), err)
			}
			out = append(out, r)
		}
		return out
	}
	return fleet.RelationSet{}.Join(fleet.RelationSet{Depends: read("depends"), Conflicts: read("conflicts"),
		Replaces: read("replaces"), Provides: read("provides")})
}
