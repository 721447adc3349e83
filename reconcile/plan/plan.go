// Package plan compares two states of a fleet before anything is baked or signed: what a revision wants with what is
// published, or with another revision. It is pure: the same two states give the same plan, on any machine. It opens
// nothing by itself; the texts of files come from the fs.FS of each side.
//
//	Diff     which hosts change, which packages are to bake: all that reconcile needs
//	Build    the Report for people: hosts grouped by equal change, what differs in their packages down to the
//	         line, what of it acts as root (first, and marked), and which line of the repo is to blame
//	Text, Markdown and JSON   the forms of a Report; whatever the repo says is made inert in each
//	Saved    a Report bound to tree, store head and program, so that what was looked at is what is done
//	CheckRemovals   the limit on hosts that go at once
package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/schema"
)

// Package is what makes a package before it is baked: equal values bake to equal bytes.
type Package struct {
	Recipe   schema.RecipeID
	Platform schema.Platform
	Format   schema.Format
	Bake     int           // bake version
	Anchor   schema.Digest // of the anchor root's bytes
}

// PackageOf is what a package was made from, as its manifest has it.
func PackageOf(m *schema.Manifest) Package {
	return Package{Recipe: m.Recipe, Platform: m.Platform, Format: m.Format, Bake: m.Bake, Anchor: m.Anchor}
}

// Desired is what the revision wants for one host.
type Desired struct {
	Package
	Site, Ring string
	Selected   bool
	Was        string // former names, with commas between
}

// Published is what the verified published release gives one host.
type Published struct {
	Desired
	Current schema.Candidate // the newest package given to the host
}

// Kind says how a host changes.
type Kind string

// The kinds of change.
const (
	Added     Kind = "added"
	Removed   Kind = "removed"
	Repackage Kind = "package"    // other bytes
	Attribute Kind = "attributes" // same bytes, other site, ring or selection
)

// Change is one host that will not be as it was.
type Change struct {
	Host   string     `json:"host"`
	Kind   Kind       `json:"kind"`
	Before *Published `json:"before,omitempty"`
	After  *Desired   `json:"after,omitempty"`
}

// Plan is the difference. Changes are sorted by host.
type Plan struct {
	Changes   []Change
	Unchanged int
	Bake      []Package                    // distinct packages that no host has yet, in a fixed order
	Reuse     map[Package]schema.Candidate // published packages that stay in use
}

// Published is how many hosts were there before.
func (p *Plan) Published() int { return p.Unchanged + len(p.Changes) - p.Count(Added) }

// Diff compares published with desired, both by host name.
func Diff(published map[string]Published, desired map[string]Desired) *Plan {
	have := map[Package]schema.Candidate{}
	used := map[Package]string{} // by the last host, so that the same one counts at any time
	for host, p := range published {
		if last, ok := used[p.Package]; !ok || host > last {
			have[p.Package], used[p.Package] = p.Current, host
		}
	}
	p := &Plan{Reuse: map[Package]schema.Candidate{}}
	bake := map[Package]bool{}
	for host, want := range desired {
		if c, ok := have[want.Package]; ok {
			p.Reuse[want.Package] = c
		} else {
			bake[want.Package] = true
		}
		old, ok := published[host]
		switch {
		case !ok:
			p.Changes = append(p.Changes, Change{Host: host, Kind: Added, After: new(want)})
		case old.Package != want.Package:
			p.Changes = append(p.Changes, Change{Host: host, Kind: Repackage, Before: new(old), After: new(want)})
		case old.Desired != want:
			p.Changes = append(p.Changes, Change{Host: host, Kind: Attribute, Before: new(old), After: new(want)})
		default:
			p.Unchanged++
		}
	}
	for host, old := range published {
		if _, ok := desired[host]; !ok {
			p.Changes = append(p.Changes, Change{Host: host, Kind: Removed, Before: new(old)})
		}
	}
	slices.SortFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.Host, b.Host) })
	p.Bake = slices.SortedFunc(maps.Keys(bake), func(a, b Package) int { return strings.Compare(a.String(), b.String()) })
	return p
}

// Count returns how many hosts change in that way.
func (p *Plan) Count(k Kind) int {
	n := 0
	for _, c := range p.Changes {
		if c.Kind == k {
			n++
		}
	}
	return n
}

func (p Package) String() string {
	return fmt.Sprintf("%s %s %s", p.Recipe, p.Platform, p.Format)
}
