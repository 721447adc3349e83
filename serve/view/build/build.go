// Package build makes what a server answers people (package view) from the verified release, the table of hosts, the
// inventory and the store. It decides nothing and writes nothing; what a viewer may not see, it does not count.
package build

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
	"bakehouse/serve/rollout"
	"bakehouse/serve/sites"
	"bakehouse/serve/store"
	"bakehouse/serve/view"
)

// Inventory is what is asked of one; *inventory.DB is one.
type Inventory interface {
	Host(ctx context.Context, name string) (*inventory.Host, error)
	Machines(ctx context.Context, host string) ([]inventory.Machine, error)
	PastOf(ctx context.Context, host string) ([]inventory.Past, error)
	Points(ctx context.Context) ([]inventory.Point, error)
	Manifests(ctx context.Context) (map[schema.Digest]schema.Digest, error) // of packages that hosts were given
}

// Source is what answers are made from. All but Rollout, Findings and Now must be given.
type Source struct {
	Release   func() (*origin.Release, string) // served now, and what is wrong with the store's head
	Hosts     *hosts.Table
	Inventory Inventory
	Store     store.Store
	Program   string // version of this program

	// Rollout is how far a release may go, and who paused all; nil: there are no gates.
	Rollout  func(release int64) (*rollout.Verdict, *rollout.Act)
	Findings func(context.Context, hosts.Counts) []schema.Finding // Counts are those of who asks
	Sites    func(context.Context) ([]sites.Contact, error)       // what was heard of them; nil: nothing ever was
	Now      func() time.Time
}

// Viewer is who asks: which hosts exist for them.
type Viewer struct {
	sees func(string) bool // nil: all
	key  string
}

// Everybody sees all hosts.
func Everybody() Viewer { return Viewer{} }

// ViewerOf is a user, who sees the hosts that the permission view covers.
func ViewerOf(u schema.User) Viewer {
	patterns := u.Permissions[schema.PermView]
	if slices.Contains(patterns, "~.*") {
		return Viewer{}
	}
	return Viewer{u.Covers(schema.PermView), strings.Join(patterns, "\x00")}
}

// Filter is a query of the viewer's.
func (v Viewer) Filter(q hosts.Query) hosts.Filter {
	return hosts.Filter{Query: q, Sees: v.sees, Key: v.key}
}

func (s *Source) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC()
	}
	return time.Now().UTC()
}

func (s *Source) head() (view.Head, *origin.Release) {
	rel, trouble := s.Release()
	return view.Head{Schema: view.Schema, At: s.now(), Fleet: rel.Policy.Fleet, Server: s.Program,
		Timestamp: rel.Timestamp,
		Expires:   rel.Expires, Trouble: trouble, Off: !rel.Policy.Enabled}, rel
}

// Tally is counts of states in the order of a share bar.
func Tally(m map[hosts.State]int) (t view.Tally) {
	for _, s := range hosts.States() {
		if s != hosts.NotInGit {
			t.Total += m[s]
			t.States = append(t.States, view.StateCount{State: s, Hosts: m[s]})
		}
	}
	return t
}

// Overview is of the hosts that exist for v.
func (s *Source) Overview(ctx context.Context, v Viewer) (*view.Overview, error) {
	head, rel := s.head()
	c := s.Hosts.Counts(v.Filter(hosts.Query{}))
	o := &view.Overview{Head: head, Tally: Tally(c.State), NotInGit: c.State[hosts.NotInGit],
		Attention: []view.Sentence{},
		Rings:     s.rings(rel, c), Versions: []view.Version{}, Programs: []view.Count{},
		Series: []view.Point{}, Prerequisites: []schema.Finding{}}
	var err error
	if o.Sites, err = s.sites(ctx, rel, c, head); err != nil {
		return nil, err
	}
	newest := newestRelease(rel)
	if rel.Info != nil {
		row := s.newestRow(rel, c.Release[newest])
		o.Release = &row
	}
	for release, n := range c.Release {
		o.Versions = append(o.Versions, view.Version{Release: release, Newest: release == newest, Hosts: n})
	}
	slices.SortFunc(o.Versions, func(a, b view.Version) int { return cmp.Compare(b.Release, a.Release) })
	for program, n := range c.Programs {
		o.Programs = append(o.Programs, view.Count{Value: program, Hosts: n})
	}
	slices.SortFunc(o.Programs, func(a, b view.Count) int {
		return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Value, b.Value))
	})
	if v.sees == nil { // the counts of all are not a viewer's who sees some
		points, err := s.Inventory.Points(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range thin(points) {
			o.Series = append(o.Series, view.Point{At: p.At, Release: p.Release, Hosts: p.Hosts, Total: p.Total})
		}
	}
	if s.Findings != nil {
		o.Prerequisites = append(o.Prerequisites, s.Findings(ctx, c)...)
	}
	o.Attention, o.MoreAttention = attention(c, o, newest)
	o.Verdict = verdict(o, c)
	return o, nil
}

// maxSeries is how many points a chart has.
const maxSeries = 120

// thin leaves out points until there are at most maxSeries, and keeps the last.
func thin(points []inventory.Point) []inventory.Point {
	if len(points) <= maxSeries {
		return points
	}
	every := (len(points) + maxSeries - 1) / maxSeries
	var some []inventory.Point
	for i := (len(points) - 1) % every; i < len(points); i += every {
		some = append(some, points[i])
	}
	return some
}

func newestRelease(rel *origin.Release) int64 {
	if rel.Info == nil {
		return 0
	}
	return rel.Info.Number
}

// rings are those of the policy with their hosts, and the hosts in none of them.
func (s *Source) rings(rel *origin.Release, c hosts.Counts) []view.Ring {
	list := []view.Ring{}
	var v *rollout.Verdict
	var pause *rollout.Act
	if s.Rollout != nil {
		v, pause = s.Rollout(newestRelease(rel))
	}
	counted := map[string]bool{hosts.None: true}
	for _, r := range rel.Policy.Rings {
		counted[r.Name] = true
		list = append(list, ringOf(r, Tally(c.Ring[r.Name]), v, pause))
	}
	none := map[hosts.State]int{}
	for name, states := range c.Ring { // a ring that the policy does not have is none
		if name == hosts.None || !counted[name] {
			for state, n := range states {
				none[state] += n
			}
		}
	}
	if t := Tally(none); t.Total > 0 {
		list = append(list, view.Ring{Tally: t})
	}
	return list
}

func ringOf(r schema.Ring, t view.Tally, v *rollout.Verdict, pause *rollout.Act) view.Ring {
	ring := view.Ring{Name: r.Name, Delay: r.Delay, Tally: t, State: view.RingOpen}
	if pause != nil {
		ring.Paused = pause.String()
	}
	own := v.Ring(r.Name)
	if own == nil {
		moving := t.Of(hosts.Updating) + t.Of(hosts.Overdue) + t.Of(hosts.Failed) + t.Of(hosts.Rejected) +
			t.Of(hosts.Blocked) + t.Of(hosts.Withheld) + t.Of(hosts.NotKnown)
		switch {
		case t.Of(hosts.Waiting) > 0 && moving == 0 && t.Of(hosts.UpToDate) == 0:
			ring.State = view.RingWaiting
		case t.Of(hosts.Waiting)+moving == 0:
			ring.State = view.RingDone
		}
		return ring
	}
	ring.State, ring.NotBefore, ring.Opened = own.State, own.NotBefore, own.Opened
	if g := own.Gate; g != nil {
		ring.Gate = &view.Gate{State: view.RingWaiting, For: g.Text, Since: own.Opened,
			Saw: &view.Saw{Hosts: g.Saw.Counted(), Healthy: g.Saw.Healthy, Failed: g.Saw.Failed,
				Rejected: g.Saw.Rejected, At: v.At}}
		if !own.Opened.IsZero() {
			ring.Gate.State, ring.Gate.Saw.At = view.RingOpen, own.Opened
		}
		if g.Promoted != nil {
			ring.Gate.By = g.Promoted.By
		}
	}
	if h := v.Halt; h != nil && own.State == rollout.Halted {
		ring.Gate = &view.Gate{State: view.RingHalted, Since: h.Since, For: h.Text}
		if h.By != nil {
			ring.Gate.By = h.By.By
		}
	}
	return ring
}

// sites are those of the policy with their hosts, and what was heard of each: the centre first.
func (s *Source) sites(ctx context.Context, rel *origin.Release, c hosts.Counts, head view.Head) ([]view.Site, error) {
	heard := map[string]sites.Contact{}
	if s.Sites != nil {
		contacts, err := s.Sites(ctx)
		if err != nil {
			return nil, err
		}
		for _, one := range contacts {
			heard[one.Name] = one
		}
	}
	list := []view.Site{}
	for name, site := range rel.Policy.Sites {
		v := view.Site{Name: name, URL: site.URL, Central: name == schema.CentralSite, Tally: Tally(c.Site[name]),
			Passwords: site.Passwords}
		one, known := heard[name]
		switch {
		case v.Central:
			v.Contact, v.Timestamp, v.Program = head.At, head.Timestamp, head.Server
			speaks := schema.WireVersions()
			v.Speaks = &speaks
		case known:
			heardOf(&v, &one, head)
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b view.Site) int {
		if a.Central != b.Central {
			return map[bool]int{true: -1, false: 1}[a.Central]
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list, nil
}

// heardOf fills in what was heard of a site.
func heardOf(v *view.Site, c *sites.Contact, head view.Head) {
	s := &c.Status
	v.Contact, v.Address, v.Silent = c.At, c.Address, c.Silent(head.At)
	v.Timestamp, v.Program = s.Timestamp, s.Program
	if v.Behind = max(head.Timestamp-s.Timestamp, 0); s.Timestamp == 0 {
		v.Behind = 0
	}
	if s.Speaks != (schema.Versions{}) {
		v.Speaks = &s.Speaks
	}
	v.Cache = &view.Cache{Bytes: s.Cache.Bytes, Limit: s.Cache.Limit, Objects: s.Cache.Objects, Hits: s.Cache.Hits,
		Misses: s.Cache.Misses}
	v.Registered, v.Superseded = s.Hosts, s.Spool.Superseded
	if !v.Silent { // what waits there now is not known
		v.Reports, v.Oldest = &s.Spool.Reports, s.Spool.Oldest
	}
	var problems []string
	for _, p := range []string{c.Problem(), s.Problem} {
		if p != "" {
			problems = append(problems, p)
		}
	}
	v.Problem = hosts.Excerpt(strings.Join(problems, "; "))
}

// Page is a page of the hosts that match.
func (s *Source) Page(ctx context.Context, v Viewer, q hosts.Query) (*view.HostsPage, error) {
	head, rel := s.head()
	f, err := s.find(ctx, v, q)
	if err != nil {
		return nil, err
	}
	p := s.Hosts.Page(f, hosts.PageSize)
	page := &view.HostsPage{Head: head, Query: q, Total: p.Total, NotInGit: p.NotInGit, Matched: p.Matched,
		Hosts: p.Rows}
	if page.Hosts == nil {
		page.Hosts = []hosts.Row{}
	}
	of := func(facet int, want []string, known ...string) []view.Count {
		list := []view.Count{}
		counts := p.Facets[facet]
		for _, value := range known {
			list = append(list, view.Count{Value: value, Hosts: counts[value], Active: slices.Contains(want, value)})
			delete(counts, value)
		}
		var more []view.Count
		for value, n := range counts {
			if value != "" {
				more = append(more, view.Count{Value: value, Hosts: n, Active: slices.Contains(want, value)})
			}
		}
		slices.SortFunc(more, func(a, b view.Count) int {
			x, _ := strconv.ParseInt(a.Value, 10, 64)
			y, _ := strconv.ParseInt(b.Value, 10, 64)
			return cmp.Or(cmp.Compare(y, x), strings.Compare(a.Value, b.Value))
		})
		return append(list, more...)
	}
	var states, rings []string
	for _, state := range hosts.States() {
		states = append(states, string(state))
	}
	for _, r := range rel.Policy.Rings {
		rings = append(rings, r.Name)
	}
	var names []string
	for name := range rel.Policy.Sites {
		names = append(names, name)
	}
	slices.Sort(names)
	page.Facets = view.Facets{State: of(hosts.FacetState, q.State, states...), Ring: of(hosts.FacetRing, q.Ring,
		rings...),
		Site: of(hosts.FacetSite, q.Site, names...), Release: of(hosts.FacetRelease, q.Release),
		Platform: of(hosts.FacetPlatform, q.Platform)}
	base := q
	base.After, base.Before = "", ""
	if q.After != "" || q.Before != "" {
		page.First = Encode(base)
	}
	if p.More {
		next := base
		next.After = p.After()
		page.Next = Encode(next)
	}
	if p.Less {
		before := base
		before.Before = p.Before()
		page.Prev = Encode(before)
	}
	return page, nil
}

// All yields all hosts that match, by name.
func (s *Source) All(ctx context.Context, v Viewer, q hosts.Query, yield func(hosts.Row) bool) error {
	q.After, q.Before, q.Sort = "", "", ""
	f, err := s.find(ctx, v, q)
	if err != nil {
		return err
	}
	for r := range s.Hosts.All(f) {
		if !yield(r) {
			break
		}
	}
	return nil
}

// find checks a query, and finds the packages that it asks for.
func (s *Source) find(ctx context.Context, v Viewer, q hosts.Query) (hosts.Filter, error) {
	f := v.Filter(q)
	if err := q.Check(); err != nil {
		return f, &BadQuery{err}
	}
	if len(q.Plugin)+len(q.File) == 0 {
		return f, nil
	}
	var err error
	f.Installed, err = s.with(ctx, q)
	return f, err
}

// BadQuery is that a query means nothing.
type BadQuery struct{ Err error }

func (e *BadQuery) Error() string { return e.Err.Error() }
func (e *BadQuery) Unwrap() error { return e.Err }

// fields are the lists of a query by the names of their parameters.
func fields(q *hosts.Query) map[string]*[]string {
	return map[string]*[]string{"state": &q.State, "ring": &q.Ring, "site": &q.Site, "release": &q.Release,
		"platform": &q.Platform, "package": &q.Package, "code": &q.Code, "agent": &q.Agent, "plugin": &q.Plugin,
		"file": &q.File}
}

// Decode reads a query as it is in a URL: several values by comma, or by repeating the parameter. An unknown parameter
// is an error, so that a misspelt filter does not show all hosts.
func Decode(values url.Values) (q hosts.Query, err error) {
	lists := fields(&q)
	for name, list := range values {
		single := map[string]*string{"q": &q.Q, "sort": &q.Sort, "after": &q.After, "before": &q.Before}[name]
		switch into := lists[name]; {
		case single != nil:
			*single = list[len(list)-1]
		case into != nil:
			for _, v := range list {
				for part := range strings.SplitSeq(v, ",") {
					if part != "" {
						*into = append(*into, part)
					}
				}
			}
		default:
			return q, &BadQuery{errors.New("unknown parameter " + strconv.Quote(name))}
		}
	}
	if err := q.Check(); err != nil {
		return q, &BadQuery{err}
	}
	return q, nil
}

// Encode is the inverse of Decode. A value with a comma in it cannot be asked for.
func Encode(q hosts.Query) string {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	for name, list := range fields(&q) {
		set(name, strings.Join(*list, ","))
	}
	set("q", q.Q)
	set("sort", q.Sort)
	set("after", q.After)
	set("before", q.Before)
	return strings.ReplaceAll(v.Encode(), "%2C", ",")
}

// missing is that nothing of that name exists for the viewer.
var missing = fs.ErrNotExist

// Answer is what a page's path, without .json, shows: a struct of package view. Of what does not exist for v, or is
// none of the paths, the error wraps fs.ErrNotExist; of a query that means nothing it is a *BadQuery.
func (s *Source) Answer(ctx context.Context, v Viewer, path string, values url.Values) (any, error) {
	dir, name, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "/status":
		return s.Overview(ctx, v)
	case path == "/hosts":
		q, err := Decode(values)
		if err != nil {
			return nil, err
		}
		return s.Page(ctx, v, q)
	case path == "/releases":
		return s.Releases(ctx, v)
	case dir == "hosts":
		return s.Host(ctx, v, name)
	case dir == "packages":
		return s.Package(ctx, v, name)
	case dir == "releases":
		if n, err := strconv.ParseInt(name, 10, 64); err == nil && n > 0 {
			return s.OneRelease(ctx, v, n)
		}
	}
	return nil, missing
}
