package sites

import (
	"cmp"
	"crypto/rand"
	"maps"
	"slices"
	"strconv"
	"strings"

	"bakehouse/schema"
	"bakehouse/schema/uplink"
	"bakehouse/serve/inventory"
	"bakehouse/serve/origin"
)

// told is what a site is to hold, and what it was told so far.
type told struct {
	rel     *origin.Release // with which want was made
	version int64           // of the roster with which it was
	want    map[string]uplink.Registration
	sum     schema.Digest

	cursor string
	held   map[string]uplink.Registration // by a site that shows cursor
}

// answer adds to a what the site has otherwise.
func (t *told) answer(a *uplink.PollAnswer, r *roster, rel *origin.Release, site string, q *uplink.PollRequest) {
	t.make(r, rel, site)
	if q.Hosts == t.sum {
		t.held, t.cursor = maps.Clone(t.want), q.Cursor
		a.Cursor = q.Cursor
		return
	}
	if t.held == nil || q.Cursor == "" || q.Cursor != t.cursor {
		a.All, t.held = true, map[string]uplink.Registration{}
	}
	for name := range t.held {
		if _, ok := t.want[name]; !ok {
			a.Gone = append(a.Gone, name)
		}
	}
	slices.Sort(a.Gone)
	if a.More = len(a.Gone) > uplink.MaxRegistrations; a.More {
		a.Gone = a.Gone[:uplink.MaxRegistrations]
	}
	for _, name := range a.Gone {
		delete(t.held, name)
	}
	for _, name := range slices.Sorted(maps.Keys(t.want)) {
		h := t.want[name]
		if held, ok := t.held[name]; ok && held == h {
			continue
		}
		if len(a.Hosts) == uplink.MaxRegistrations {
			a.More = true
			break
		}
		a.Hosts = append(a.Hosts, h)
		t.held[name] = h
	}
	t.cursor = rand.Text()
	a.Cursor = t.cursor
}

// make brings want up to date.
func (t *told) make(r *roster, rel *origin.Release, site string) {
	if t.rel == rel && t.version == r.version && t.want != nil {
		return
	}
	t.rel, t.version, t.want = rel, r.version, map[string]uplink.Registration{}
	for name, h := range r.hosts {
		if r.owns(rel, site, name) {
			t.want[name] = h.told(rel)
		}
	}
	t.sum = uplink.SumOf(t.want)
}

// relevant are the verdicts on what hosts are given now, the newest first, as many as fit; nil if they are those that
// have the sum held.
func relevant(rows []inventory.Verdict, rel *origin.Release, held string) *uplink.Verdicts {
	given := map[int64]bool{}
	for _, a := range rel.Hosts {
		for _, c := range a.Candidates() {
			given[c.Release] = true
		}
	}
	list := []uplink.Verdict{}
	number := func(name string) int64 {
		_, text, _ := strings.Cut(name, "/")
		n, _ := strconv.ParseInt(text, 10, 64)
		return n // 0: the pause, which comes first
	}
	for _, row := range rows {
		if n := number(row.Name); n == 0 || given[n] {
			list = append(list, uplink.Verdict{Name: row.Name, Version: row.Version, Body: row.Body})
		}
	}
	slices.SortFunc(list, func(a, b uplink.Verdict) int {
		x, y := number(a.Name), number(b.Name)
		if x == 0 || y == 0 {
			return cmp.Compare(x, y)
		}
		return cmp.Compare(y, x)
	})
	room := uplink.MaxVerdicts
	for i, v := range list {
		if room -= len(v.Body); room < 0 {
			list = list[:i] // what has no verdict is held
			break
		}
	}
	v := &uplink.Verdicts{Sum: uplink.SumVerdicts(list), List: list}
	if v.Sum == held {
		return nil
	}
	return v
}
