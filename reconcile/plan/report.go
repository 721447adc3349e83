package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/plan/losses"
	"bakehouse/reconcile/plan/ways"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Side is one of the two states that are compared. Of the state before, all but Hosts may be missing: then the report
// says what changes for whom, but not what the packages contained.
type Side struct {
	Endpoint
	Hosts    map[string]Published // what each host gets; Current is not read
	Policy   schema.Policy
	Access   schema.Access
	Roots    int               // newest root of trust
	Trust    map[string]string // who may sign which role by that root, such as "2 of alice, bob"
	Resolved *rules.Resolved   // nil: not known
	Files    fs.FS             // the repo's, for the content of packages
}

// Endpoint names a side.
type Endpoint struct {
	Name    string `json:"name"`              // for people: "commit 0123456789ab", "release 3"
	Commit  string `json:"commit,omitempty"`  // 40 hex digits; empty: a work tree, or nothing
	Tree    string `json:"tree,omitempty"`    // likewise
	Release int64  `json:"release,omitempty"` // of the store
	Head    int64  `json:"head,omitempty"`    // version of the store's timestamp
}

// Report says what a change does to which hosts, and why. It is what the renderers print and `plan --json` encodes.
// Groups that act as root come first, and so do the items in them.
type Report struct {
	Fleet    string    `json:"fleet"`
	From     Endpoint  `json:"from"`
	To       Endpoint  `json:"to"`
	Summary  Summary   `json:"summary"`
	Settings []Setting `json:"settings"` // of the fleet as a whole
	Groups   []Group   `json:"groups"`
	Notes    []string  `json:"notes"`             // what limits the report, and what must be renewed
	Refused  string    `json:"refused,omitempty"` // why reconcile would not do this

	Stranded []Stranded    `json:"stranded,omitempty"`
	Warnings []Warning     `json:"warnings,omitempty"` // of the fleet as a whole
	Losses   []losses.Loss `json:"losses,omitempty"`
}

// Warning is something that reconcile does all the same.
type Warning struct {
	Text string    `json:"text"`
	Hint string    `json:"hint"`
	At   fleet.Pos `json:"at,omitzero"`
}

// Summary counts hosts, and what acts as root.
type Summary struct {
	Hosts      int `json:"hosts"` // after the change
	Added      int `json:"added"`
	Removed    int `json:"removed"`
	Package    int `json:"package"`    // with other bytes
	Attributes int `json:"attributes"` // with other attributes only
	Unchanged  int `json:"unchanged"`
	Bake       int `json:"bake"` // distinct packages to make
	Root       int `json:"root"` // distinct items that act as root
	Stranded   int `json:"stranded,omitempty"`
}

// Setting is a value that is not as it was: an attribute of hosts, or a setting of the whole fleet.
type Setting struct {
	Name   string    `json:"name"`
	Before string    `json:"before"`
	After  string    `json:"after"`
	At     fleet.Pos `json:"at,omitzero"`
}

// Group is hosts that change in the same way.
type Group struct {
	Kind       Kind      `json:"kind"`
	Hosts      []string  `json:"hosts"`            // sorted
	Folder     string    `json:"folder,omitempty"` // of removed hosts, with "hosts"
	Attributes []Setting `json:"attributes"`
	Items      []Item    `json:"items"` // what the package holds otherwise than before
	Causes     []Cause   `json:"causes"`
	Note       string    `json:"note,omitempty"` // why there are no items
}

// Root reports whether the group changes what acts as root.
func (g *Group) Root() bool { return len(g.Items) > 0 && g.Items[0].new() }

// weight orders groups by what they do as root.
func (g *Group) weight() int {
	if !g.Root() {
		return weight("")
	}
	return g.Items[0].weight()
}

// new reports whether the item acts as root and no host has had it.
func (it *Item) new() bool { return it.Root != "" && !it.Known }

// Empty reports whether nothing changes.
func (r *Report) Empty() bool { return len(r.Groups) == 0 && len(r.Settings) == 0 }

// Build compares two sides; diff is Diff of their hosts.
func Build(before, after Side, diff *Plan) *Report {
	b := &builder{before: before, after: after, pairs: map[pair]*pairDiff{}, trees: map[string][]Cause{}, there: map[Package]bool{}}
	var secrets []string
	for _, s := range []*Side{&before, &after} {
		if s.Resolved != nil {
			secrets = append(secrets, s.Resolved.Fleet.Secrets()...)
		}
	}
	b.mask = fleet.MaskOf(secrets)
	if after.Resolved != nil {
		b.listed = ListedIn(after.Resolved.Fleet)
	}
	for _, h := range before.Hosts {
		b.there[h.Package] = true
	}
	r := &Report{Fleet: after.Policy.Fleet, From: before.Endpoint, To: after.Endpoint, Settings: fleetSettings(before, after), Notes: []string{}}
	if len(before.Hosts) > 0 && before.Resolved == nil {
		r.Notes = append(r.Notes, "the files of "+before.Name+" are not known here, so what packages contained before is not shown")
	}
	r.Summary = Summary{Hosts: len(after.Hosts), Added: diff.Count(Added), Removed: diff.Count(Removed), Package: diff.Count(Repackage),
		Attributes: diff.Count(Attribute), Unchanged: diff.Unchanged, Bake: len(diff.Bake)}
	groups := map[string]*Group{}
	causes := map[string]map[Cause]bool{}
	var lost losses.Found
	for _, c := range diff.Changes {
		if c.Kind == Repackage {
			lost.Add(b.before.recipe(c.Before.Recipe), b.after.recipe(c.After.Recipe))
		}
		g, key := b.group(c)
		if groups[key] == nil {
			groups[key], causes[key] = g, map[Cause]bool{}
		}
		groups[key].Hosts = append(groups[key].Hosts, c.Host)
		for _, cause := range b.causes(c, g) {
			cause.What = b.mask.Text(cause.What)
			causes[key][cause] = true
		}
	}
	r.Groups = make([]Group, 0, len(groups))
	for key, g := range groups {
		g.Causes = slices.SortedFunc(maps.Keys(causes[key]), Cause.compare)
		r.Groups = append(r.Groups, *g)
	}
	slices.SortFunc(r.Groups, func(x, y Group) int {
		return cmp.Or(cmp.Compare(x.weight(), y.weight()), cmp.Compare(rank(x.Kind), rank(y.Kind)),
			cmp.Compare(len(y.Hosts), len(x.Hosts)), strings.Compare(x.Hosts[0], y.Hosts[0]))
	})
	for _, p := range ways.Changed(ways.Side{Policy: before.Policy, Resolved: before.Resolved},
		ways.Side{Policy: after.Policy, Resolved: after.Resolved}) {
		r.Warnings = append(r.Warnings, Warning{p.Msg, p.Hint, p.Pos})
	}
	r.Losses = lost.List(b.mask)
	r.Summary.Root = len(r.RootItems())
	return r
}

// rank orders groups: what changes running hosts comes before what only begins or ends.
func rank(k Kind) int { return slices.Index([]Kind{Repackage, Added, Removed, Attribute}, k) }

// first orders true before false.
func first(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return -1
	}
	return 1
}

// builder remembers what many hosts have in common.
type builder struct {
	before, after Side
	mask          fleet.Mask // of the secrets of both sides
	pairs         map[pair]*pairDiff
	trees         map[string][]Cause // by plugin: files of it that differ
	there         map[Package]bool   // what some host had before
	known         map[known]bool     // what was in it; nil: not asked yet
	listed        Listed             // hosts of the state after that have no package, or had another name
}

// pair is a change of recipe; nil is no package.
type pair struct{ before, after *rules.Recipe }

type pairDiff struct {
	items []Item
	key   string // equal for equal items
}

// group is the group of one changed host, but for its hosts and causes, and a key that is equal for equal changes.
func (b *builder) group(c Change) (*Group, string) {
	g := &Group{Kind: c.Kind, Attributes: []Setting{}, Items: []Item{}}
	if c.Before != nil && c.After != nil {
		g.Attributes = b.attributes(c)
	}
	items := ""
	switch c.Kind {
	case Removed:
		if h := b.before.host(c.Host); h != nil {
			g.Folder = FolderOf(h.Host)
		}
		if b.listed.Renamed(c.Host) {
			g.Note = "what is published for the old name goes; the host itself stays, under its new name"
			items = g.Note
		}
		if h := b.after.host(c.Host); h != nil && h.Lacks != "" {
			g.Note = "what is published for it goes, for no package can be made; the host itself keeps what is installed"
			items = g.Note + h.Lacks
		}
	case Added:
		if b.there[c.After.Package] {
			g.Note = "the package that other hosts have already: " + c.After.Package.String()
			items = g.Note
			break
		}
		d := b.pair(nil, b.after.recipe(c.After.Recipe))
		g.Items, items = d.items, d.key
	case Repackage:
		was, is := b.before.recipe(c.Before.Recipe), b.after.recipe(c.After.Recipe)
		switch {
		case c.Before.Recipe == c.After.Recipe:
			g.Note = "the same content, packed otherwise"
		case was == nil:
			g.Note = "what the package contained before is not known"
			items = string(c.After.Recipe)
		default:
			d := b.pair(was, is)
			if g.Items, items = d.items, d.key; len(g.Items) == 0 {
				g.Note = "another recipe, but what differs in it is not shown"
			}
		}
	}
	attributes, err := json.Marshal(g.Attributes)
	if err != nil {
		panic(err) // strings always encode
	}
	return g, fmt.Sprintf("%s\n%s\n%s\n%s", g.Kind, g.Folder, attributes, items)
}

// attributes are what differs besides the content of the package.
func (b *builder) attributes(c Change) []Setting {
	old, now := c.Before.Desired, *c.After
	updates := func(selected bool) string {
		if selected {
			return "selected"
		}
		return "not selected"
	}
	out := []Setting{}
	for _, s := range []Setting{
		{Name: fleet.AttrPlatform, Before: old.Platform.String(), After: now.Platform.String()},
		{Name: fleet.AttrFormat, Before: string(old.Format), After: string(now.Format)},
		{Name: fleet.AttrSite, Before: old.Site, After: now.Site},
		{Name: fleet.AttrRing, Before: cmp.Or(old.Ring, "none: hold"), After: cmp.Or(now.Ring, "none: hold")},
		{Name: "was", Before: old.Was, After: now.Was},
		{Name: "updates", Before: updates(old.Selected), After: updates(now.Selected)},
		{Name: "anchor", Before: old.Anchor.Short(), After: now.Anchor.Short()},
		{Name: "bake version", Before: fmt.Sprint(old.Bake), After: fmt.Sprint(now.Bake)},
	} {
		if s.Before != s.After {
			if h := b.after.host(c.Host); h != nil {
				s.At = b.after.Resolved.AttributePos(h, s.Name)
			}
			out = append(out, s)
		}
	}
	return out
}

func (s *Side) host(name string) *rules.Result {
	if s.Resolved == nil {
		return nil
	}
	return s.Resolved.Hosts[name]
}

func (s *Side) recipe(id schema.RecipeID) *rules.Recipe {
	if s.Resolved == nil {
		return nil
	}
	return s.Resolved.Recipes[id]
}

// RootItem is an item that acts as root, and how many hosts it is for.
type RootItem struct {
	Item
	Hosts int
}

// RootItems lists each item that acts as root, or may, once: in the order of the groups, those that may behind.
func (r *Report) RootItems() []RootItem {
	var out []RootItem
	at := map[string]int{}
	for _, g := range r.Groups {
		for _, it := range g.Items {
			if !it.new() {
				continue
			}
			key := fmt.Sprintf("%s %s %s %q %s", it.Kind, it.Action, it.Plugin, it.Name, it.Root)
			i, ok := at[key]
			if !ok {
				i = len(out)
				at[key] = i
				out = append(out, RootItem{Item: it})
			}
			out[i].Hosts += len(g.Hosts)
		}
	}
	slices.SortStableFunc(out, func(x, y RootItem) int { return cmp.Compare(x.weight(), y.weight()) })
	return out
}

// Strand adds stranded hosts to the report, and counts those that certainly are.
func (r *Report) Strand(all []Stranded) {
	r.Stranded = all
	hosts := map[string]bool{}
	for _, s := range all {
		for _, h := range s.Hosts {
			if s.When != StrandedPerhaps {
				hosts[h] = true
			}
		}
	}
	r.Summary.Stranded = len(hosts)
}
