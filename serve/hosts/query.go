package hosts

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"bakehouse/schema"
)

// Limits of what is asked.
const (
	PageSize  = 100
	maxValues = 64  // of a field
	maxText   = 400 // bytes of a value
)

// Sort orders of Query.
const (
	SortState  = "state" // what needs a person first
	SortHost   = "host"
	SortSite   = "site"
	SortRing   = "ring"
	SortCheck  = "check"  // last poll
	SortUpdate = "update" // last installation
)

// Sorts are all of them.
func Sorts() []string {
	return []string{SortHost, SortSite, SortRing, SortState, SortCheck, SortUpdate}
}

// Filter is a query, for somebody, together with what the table does not know of packages.
type Filter struct {
	Query
	// Sees reports whether the hosts of that name exist for who asks; Key is the same for equal answers. Nil: all do.
	Sees func(host string) bool
	Key  string
	// Installed, if not nil, are the packages that Query.Plugin and Query.File ask for.
	Installed map[schema.Digest]bool
}

// Check says what is wrong with a query, if anything.
func (q *Query) Check() error {
	if !slices.Contains(Sorts(), strings.TrimPrefix(q.Sort, "-")) && q.Sort != "" {
		return fmt.Errorf("unknown order %.40q: want %s, each also with - before it", q.Sort, strings.Join(Sorts(),
			", "))
	}
	for _, s := range q.State {
		if !State(s).Valid() {
			return fmt.Errorf("unknown state %.40q", s)
		}
	}
	if q.After != "" && q.Before != "" {
		return fmt.Errorf("both after and before are given")
	}
	for _, list := range q.lists() {
		if len(list) > maxValues {
			return fmt.Errorf("more than %d values of a filter", maxValues)
		}
		for _, v := range list {
			if len(v) > maxText {
				return fmt.Errorf("a value of a filter is longer than %d bytes", maxText)
			}
		}
	}
	if len(q.Q) > maxText {
		return fmt.Errorf("the words to search for are longer than %d bytes", maxText)
	}
	for _, c := range []string{q.After, q.Before} {
		if c != "" {
			if _, err := decodeCursor(c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *Query) lists() [][]string {
	return [][]string{q.State, q.Ring, q.Site, q.Release, q.Platform, q.Package, q.Code, q.Agent, q.Plugin, q.File}
}

// Page is some rows of the hosts that match, and how many there are.
type Page struct {
	Total    int // hosts of the fleet that exist for who asks
	NotInGit int
	Matched  int
	Rows     []Row
	More     bool                       // rows behind
	Less     bool                       // rows before
	Facets   [dimensions]map[string]int // by value, under the filters of the other dimensions
	after    string
	before   string
}

// After and Before are where the next and the previous page begin and end.
func (p *Page) After() string  { return p.after }
func (p *Page) Before() string { return p.before }

// The facets of a Page.
const (
	FacetState    = byState
	FacetRing     = byRing
	FacetSite     = bySite
	FacetRelease  = byRelease
	FacetPlatform = byPlatform
)

// position is where a host stands in an order.
type position struct {
	Number int64  `json:"n,omitempty"`
	Text   string `json:"t,omitempty"`
	Name   string `json:"h"`
}

func decodeCursor(s string) (p position, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return p, fmt.Errorf("this is not a page of the list: follow its links")
	}
	return p, nil
}

func (p position) encode() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// order compares hosts; equal ones by name.
type order struct {
	by       string
	reversed bool
}

func (q *Query) order() order {
	by, reversed := strings.CutPrefix(q.Sort, "-")
	return order{cmp.Or(by, SortState), reversed}
}

func (o order) of(e *entry) position {
	p := position{Name: e.name}
	switch o.by {
	case SortState:
		p.Number = int64(e.rank)
	case SortCheck:
		p.Number = -e.seen // the last one first
	case SortUpdate:
		p.Number = -e.updated
	case SortSite, SortRing:
		if a := e.assigned; a != nil {
			if p.Text = a.Site; o.by == SortRing {
				p.Text = a.Ring
			}
		}
	}
	return p
}

func (o order) compare(a, b position) int {
	c := cmp.Compare(a.Number, b.Number)
	if c == 0 {
		c = strings.Compare(a.Text, b.Text)
	}
	if c == 0 && o.by != SortHost {
		c = strings.Compare(a.Name, b.Name)
		if o.reversed {
			return c // the name breaks ties one way
		}
	}
	if c == 0 {
		c = strings.Compare(a.Name, b.Name)
	}
	if o.reversed {
		return -c
	}
	return c
}

// Page answers a query that Check has found right.
func (t *Table) Page(f Filter, size int) Page {
	now := t.now()
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := t.matcher(&f)
	o := f.order()
	var p Page
	first := nearest{order: o, size: size + 1}
	if f.After != "" {
		at, _ := decodeCursor(f.After)
		first.after = &at
	}
	if f.Before != "" {
		at, _ := decodeCursor(f.Before)
		first.before = &at
	}
	t.scan(m, &p, &first)
	found := first.sorted()
	p.Less, p.More = first.skipped > 0, len(found) > size || first.beyond > 0
	if len(found) > size {
		if f.Before != "" {
			found, p.Less = found[1:], true
		} else {
			found = found[:size]
		}
	}
	for _, x := range found {
		p.Rows = append(p.Rows, x.e.row(Classify(t.facts(x.e), now)))
	}
	if len(found) > 0 {
		p.before, p.after = found[0].at.encode(), found[len(found)-1].at.encode()
	}
	if f.Before != "" {
		p.More = true
	}
	return p
}

// nearest keeps the hosts that are next behind after, or before before.
type nearest struct {
	order         order
	size          int
	after, before *position
	limit         *position // nothing farther is kept; nil: not so many are known yet
	kept          []placed
	skipped       int // before after
	beyond        int
}

type placed struct {
	at position
	e  *entry
}

// offer keeps a host if it is among the nearest so far. Kept is cut to the size when it is full.
func (n *nearest) offer(at position, e *entry) {
	switch {
	case n.after != nil && n.order.compare(at, *n.after) <= 0:
		n.skipped++
		return
	case n.before != nil && n.order.compare(at, *n.before) >= 0:
		n.beyond++
		return
	case n.limit != nil && n.farther(at, *n.limit):
		return
	}
	if n.kept == nil {
		n.kept = make([]placed, 0, 4*n.size)
	}
	if n.kept = append(n.kept, placed{at, e}); len(n.kept) == cap(n.kept) {
		n.cut()
	}
}

func (n *nearest) farther(a, b position) bool {
	c := n.order.compare(a, b)
	return n.before == nil && c > 0 || n.before != nil && c < 0
}

func (n *nearest) cut() {
	slices.SortFunc(n.kept, func(a, b placed) int {
		if n.before != nil {
			return n.order.compare(b.at, a.at)
		}
		return n.order.compare(a.at, b.at)
	})
	if n.kept = n.kept[:min(len(n.kept), n.size)]; len(n.kept) == n.size {
		at := n.kept[n.size-1].at
		n.limit = &at
	}
}

func (n *nearest) sorted() []placed {
	n.cut()
	if n.before != nil {
		slices.Reverse(n.kept)
	}
	return n.kept
}

// All yields the hosts that match in the order of their names. Others get at the table in between.
func (t *Table) All(f Filter) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		f.Sort, f.Before = SortHost, ""
		for {
			rows, last := t.some(f)
			for _, r := range rows {
				if !yield(r) {
					return
				}
			}
			if last == "" {
				return
			}
			f.After = position{Name: last}.encode()
		}
	}
}

func (t *Table) some(f Filter) (rows []Row, last string) {
	now := t.now()
	t.mu.RLock()
	defer t.mu.RUnlock()
	m := t.matcher(&f)
	from, after := 0, ""
	if at, err := decodeCursor(f.After); f.After != "" && err == nil {
		after = at.Name
		from, _ = slices.BinarySearchFunc(t.rows, after, named)
	}
	for i, e := range t.rows[from:] {
		if e.name <= after && after != "" || !m.matches(from+i, e) {
			continue
		}
		if rows = append(rows, e.row(Classify(t.facts(e), now))); len(rows) == 10*PageSize {
			return rows, e.name
		}
	}
	return rows, ""
}

// Row is one host, if it exists for who asks.
func (t *Table) Row(name string, sees func(string) bool) (Row, Facts, Verdict, bool) {
	now := t.now()
	t.mu.RLock()
	defer t.mu.RUnlock()
	e := t.names[name]
	if e == nil || e.verdict == "" || sees != nil && !sees(name) {
		return Row{}, Facts{}, Verdict{}, false
	}
	f := t.facts(e)
	v := Classify(f, now)
	return e.row(v), f, v, true
}

// matcher decides which hosts match, by dimensions and by all else.
type matcher struct {
	wants   [dimensions][]bool // by number; nil: any
	plain   bool               // nothing but the dimensions decides
	visible []bool             // by row; nil: all
	words   []word
	f       *Filter
}

func (t *Table) matcher(f *Filter) *matcher {
	m := &matcher{f: f}
	for d, list := range [][]string{byState: f.State, byRing: f.Ring, bySite: f.Site, byRelease: f.Release,
		byPlatform: f.Platform} {
		if len(list) == 0 {
			continue
		}
		m.wants[d] = make([]bool, len(t.dims[d].name))
		for _, v := range list {
			if n, ok := t.dims[d].number[v]; ok {
				m.wants[d][n] = true
			}
		}
	}
	for _, w := range strings.Fields(f.Q) {
		m.words = append(m.words, newWord(w))
	}
	if f.Sees != nil {
		m.visible = t.scope(f.Key, f.Sees)
	}
	m.plain = len(m.words) == 0 && m.visible == nil && f.Installed == nil &&
		len(f.Package)+len(f.Code)+len(f.Agent) == 0
	return m
}

// other reports whether all but the dimensions match.
func (m *matcher) other(e *entry) bool {
	if m.plain {
		return true
	}
	if m.f.Installed != nil && !m.f.Installed[e.installed.Value()] {
		return false
	}
	if len(m.f.Code) > 0 && !slices.Contains(m.f.Code, e.why) {
		return false
	}
	if len(m.f.Agent) > 0 && !slices.Contains(m.f.Agent, e.program) {
		return false
	}
	if len(m.f.Package) > 0 && !slices.ContainsFunc(m.f.Package, func(p string) bool {
		return e.assigned != nil && startsHex(e.assigned.SHA256, strings.TrimPrefix(p, "sha256:"))
	}) {
		return false
	}
	for _, w := range m.words {
		if !w.matches(e) {
			return false
		}
	}
	return true
}

// misses counts the dimensions in which e does not match; only is one of them.
func (m *matcher) misses(c *cell) (n, only int) {
	for d := range dimensions {
		if m.wants[d] != nil && !m.wants[d][c[d]] {
			n++
			only = d
		}
	}
	return n, only
}

func (m *matcher) matches(i int, e *entry) bool {
	if e.gone || e.verdict == "" || m.visible != nil && !m.visible[i] {
		return false
	}
	n, _ := m.misses(&e.cell)
	return n == 0 && m.other(e)
}

// scan looks for the rows of a page, and counts the hosts that match and by facet: by the counters, if nothing but the
// dimensions decides.
func (t *Table) scan(m *matcher, p *Page, first *nearest) {
	c := tally{p: p, m: m, outside: math.MaxUint32}
	for d := range dimensions {
		c.facets[d] = make([]int, len(t.dims[d].name))
	}
	if n, ok := t.dims[byState].number[string(NotInGit)]; ok {
		c.outside = n
	}
	if m.visible == nil {
		for at, n := range t.cells {
			c.exists(&at, n)
			if misses, only := m.misses(&at); m.plain {
				c.matches(&at, n, misses, only)
			}
		}
	}
	rows, byName := t.rows, m.plain && first.order == order{by: SortHost} && first.before == nil
	if byName && first.after != nil {
		from, _ := slices.BinarySearchFunc(rows, first.after.Name, named)
		first.skipped, rows = from, rows[from:]
	}
	for i, e := range rows {
		if e.gone || e.verdict == "" || m.visible != nil && !m.visible[i] {
			continue
		}
		if m.visible != nil {
			c.exists(&e.cell, 1)
		}
		misses, only := m.misses(&e.cell)
		if misses > 1 || !m.other(e) {
			continue
		}
		if !m.plain {
			c.matches(&e.cell, 1, misses, only)
		}
		if misses > 0 {
			continue
		}
		if first.offer(first.order.of(e), e); byName && len(first.kept) == first.size {
			break
		}
	}
	for d := range dimensions {
		p.Facets[d] = map[string]int{}
		for n, name := range t.dims[d].name {
			if c.facets[d][n] > 0 || m.wants[d] != nil && m.wants[d][n] {
				p.Facets[d][name] = c.facets[d][n]
			}
		}
	}
}

func named(e *entry, name string) int { return strings.Compare(e.name, name) }

// tally counts for a page.
type tally struct {
	p       *Page
	m       *matcher
	facets  [dimensions][]int
	outside uint32 // the number of NotInGit
}

func (c *tally) exists(at *cell, n int) {
	if at[byState] == c.outside {
		c.p.NotInGit += n
	} else {
		c.p.Total += n
	}
}

func (c *tally) matches(at *cell, n, misses, only int) {
	switch misses {
	case 0:
		c.p.Matched += n
		for d := range dimensions {
			c.facets[d][at[d]] += n
		}
	case 1:
		c.facets[only][at[only]] += n
	}
}

// scope is which rows exist for somebody.
type scope struct {
	shape   int
	visible []bool
}

// maxScopes is for how many different ones the rows are kept.
const maxScopes = 32

// scope is found once for all who see the same. The table is locked for reading.
func (t *Table) scope(key string, sees func(string) bool) []bool {
	t.scopesMu.Lock()
	defer t.scopesMu.Unlock()
	s := t.scopes[key]
	if s != nil && s.shape == t.shape && len(s.visible) == len(t.rows) {
		return s.visible
	}
	s = &scope{shape: t.shape, visible: make([]bool, len(t.rows))}
	for i, e := range t.rows {
		s.visible[i] = sees(e.name)
	}
	if len(t.scopes) >= maxScopes {
		clear(t.scopes)
	}
	t.scopes[key] = s
	return s.visible
}
