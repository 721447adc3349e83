package hosts

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/outcome"
)

// clock is a time that tests move.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// fleet publishes release 2 for n hosts, each third of which is in ring late, and fills a table with what they report.
func fleet(n int) (*Table, *clock) {
	c := &clock{noon}
	t := New(c.now)
	publish(t, n, true)
	for i := range n {
		name := hostName(i)
		if i%50 == 7 {
			continue // never registered
		}
		t.Load(name, Registration{At: ago(100 * time.Hour), User: "installer", Platform: schema.Platform{OS: "linux",
			Arch: "amd64"}},
			ago(time.Duration(i%40)*time.Minute), report(i), Change{})
	}
	t.Load("stray", Registration{At: ago(time.Hour)}, time.Time{}, nil, Change{})
	t.Loaded()
	return t, c
}

func hostName(i int) string { return fmt.Sprintf("web%06d", i) }

func assignments(n int) map[string]*schema.Assignment {
	m := map[string]*schema.Assignment{}
	for i := range n {
		ring := "all"
		if i%3 == 0 {
			ring = "late"
		}
		m[hostName(i)] = &schema.Assignment{Host: hostName(i), SHA256: pkg(2), Target: schema.Target{Release: 2,
			Ring:  ring,
			Since: ago(10 * time.Minute), Selected: true, Site: []string{"muc", "nyc"}[i%2],
			Older: []schema.Candidate{{SHA256: pkg(1), Release: 1, Since: ago(48 * time.Hour)}}}}
	}
	return m
}

func publish(t *Table, n int, enabled bool) {
	t.Publish(&schema.Policy{Enabled: enabled, Rings: []schema.Ring{{Name: "all"},
		{Name: "late", Delay: schema.Duration(12 * time.Hour)}}}, nil, assignments(n), 2)
}

// report is what the i-th host says.
func report(i int) *schema.Report {
	r := &schema.Report{Agent: "1.4.2", Platform: schema.Platform{OS: "linux", Arch: "amd64"},
		State: schema.StateCurrent,
		Code:  schema.CodeCurrent, Installed: pkg(2), Release: 2, Target: pkg(2),
		LastUpdate: ago(time.Duration(i) * time.Minute)}
	switch i % 20 {
	case 0, 1, 2, 3:
		r.Installed, r.Release = pkg(1), 1
	case 4:
		r.State, r.Code, r.Error, r.Installed, r.Release = schema.StateFailed, outcome.CodeUnhealthy, "It fell ill",
			pkg(1), 1
	case 5:
		r.State, r.Code, r.Error = schema.StateFailed, outcome.CodeHost, fmt.Sprintf("disk %d is full", i%3)
	case 6:
		r.Platform.Arch, r.Agent = "arm64", "1.4.1"
	}
	return r
}

// recounted is what t counts, counted.
func recounted(t *Table) *Table {
	c := New(t.now)
	for _, e := range t.rows {
		if !e.gone {
			c.count(e, 1)
			c.programs[e.program]++
		}
	}
	return c
}

func checkCounts(t *testing.T, table *Table) {
	t.Helper()
	want := recounted(table)
	if !maps.Equal(table.cells, want.cells) || !maps.Equal(table.groups, want.groups) ||
		!maps.Equal(table.programs, want.programs) {
		t.Errorf("counters %v %v %v, counted %v %v %v", table.cells, table.groups, table.programs, want.cells,
			want.groups,
			want.programs)
	}
	for _, e := range table.rows {
		if v := Classify(table.facts(e), table.now()); v.State != e.verdict {
			t.Errorf("%s is %s in the table and %v", e.name, e.verdict, v)
		}
	}
}

func TestCountersAreWhatCountingGivesWhateverHappens(t *testing.T) {
	t.Parallel()
	table, c := fleet(200)
	changes := 0
	table.Changed = func(Change) { changes++ }
	checkCounts(t, table)
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 2000 {
		name := hostName(r.IntN(220))
		switch r.IntN(12) {
		case 0:
			table.Register(name, Registration{At: c.at, User: "again"})
		case 1:
			table.Forget(name, i%2 == 0)
		case 2:
			table.Rename(name, hostName(r.IntN(220)))
		case 3:
			c.at = c.at.Add(time.Duration(r.IntN(40)) * time.Minute)
			table.Tick()
		case 4:
			held := r.IntN(2) == 0
			table.Gates(func(ring string, _ int64) Gate { return Gate{Held: held && ring == "all"} })
		case 5:
			table.Sites(map[string]time.Time{"muc": c.at.Add(-time.Hour)})
		case 6:
			publish(table, 150+r.IntN(60), r.IntN(4) > 0)
		case 7:
			table.Sites(nil)
		case 8:
			table.Cloned(name)
		default:
			table.Poll(name, c.at, report(r.IntN(40)))
		}
		if i%100 == 0 {
			table.Tick()
			checkCounts(t, table)
		}
	}
	if changes == 0 {
		t.Error("no change was told")
	}
}

func TestTheClockAloneMakesHostsOverdueAndLetsTurnsCome(t *testing.T) {
	t.Parallel()
	table, c := fleet(100)
	before := table.Counts(Filter{}).State
	if before[Updating] == 0 || before[Waiting] == 0 || before[Overdue] != 0 {
		t.Fatal(before)
	}
	c.at = c.at.Add(12 * time.Hour)
	table.Tick()
	after := table.Counts(Filter{}).State
	if after[Updating] != 0 || after[Waiting] != 0 || after[Overdue] == 0 || after[Failed] != before[Failed] {
		t.Error(after)
	}
	for i := range 100 {
		table.Poll(hostName(i), c.at, report(i))
	}
	again := table.Counts(Filter{}).State
	if again[UpToDate] != before[UpToDate] || again[Waiting] != 0 {
		t.Error(again)
	}
	checkCounts(t, table)
}

func TestTheMasterSwitchComingOnDoesNotMakeHostsOverdueAtOnce(t *testing.T) {
	t.Parallel()
	table, c := fleet(20)
	publish(table, 20, false)
	c.at = c.at.Add(20 * time.Hour)
	for i := range 20 {
		table.Poll(hostName(i), c.at, report(i))
	}
	publish(table, 20, true)
	if s := table.Counts(Filter{}).State; s[Overdue] != 0 || s[Updating] == 0 {
		t.Error(s)
	}
}

func TestASilentHostLeavesTheTableByItsRule(t *testing.T) {
	t.Parallel()
	table, c := fleet(20)
	var retired []string
	table.Retire = func(host string) {
		retired = append(retired, host)
		table.Forget(host, true)
	}
	table.Publish(table.policy,
		schema.NewRetirement(map[string]schema.Duration{hostName(1): schema.Duration(5 * time.Hour),
			hostName(2): 0, hostName(3): 0}), assignments(20), 2)
	c.at = c.at.Add(4 * time.Hour)
	table.Tick()
	if len(retired) != 0 {
		t.Fatal(retired)
	}
	c.at = c.at.Add(time.Hour)
	table.Tick()
	row, _, _, _ := table.Row(hostName(1), nil)
	if !slices.Equal(retired, []string{hostName(1)}) || row.State != Unregistered || row.Code != CodeRetired {
		t.Errorf("%v, %+v", retired, row)
	}
	for _, g := range table.Counts(Filter{}).Groups {
		if g.Code == CodeRetired {
			t.Error("a host that retired by rule needs a look")
		}
	}
	checkCounts(t, table)
}

// names are those of rows.
func names(rows []Row) (list []string) {
	for _, r := range rows {
		list = append(list, r.Name)
	}
	return list
}

func TestPagesLeadThroughAllHostsOnceForwardsAndBack(t *testing.T) {
	t.Parallel()
	table, _ := fleet(230)
	for _, by := range append([]string{""}, Sorts()...) {
		for _, reversed := range []string{"", "-"} {
			if by == "" && reversed != "" {
				continue
			}
			q := Query{Sort: reversed + by}
			all := names(table.Page(Filter{Query: q}, 1000).Rows)
			if len(all) != 231 {
				t.Fatalf("%s: %d hosts", q.Sort, len(all))
			}
			var walked []string
			var pages []Page
			for {
				p := table.Page(Filter{Query: q}, 50)
				pages = append(pages, p)
				walked = append(walked, names(p.Rows)...)
				if (len(pages) > 1) != p.Less || p.Matched != 231 {
					t.Errorf("%s page %d: before it %v, %d match", q.Sort, len(pages), p.Less, p.Matched)
				}
				if !p.More {
					break
				}
				q.After = p.After()
			}
			if !slices.Equal(walked, all) {
				t.Fatalf("%s: %d of %d hosts, or in another order", q.Sort, len(walked), len(all))
			}
			for i := len(pages) - 1; i > 0; i-- {
				q.After, q.Before = "", pages[i].Before()
				p := table.Page(Filter{Query: q}, 50)
				if !slices.Equal(names(p.Rows), names(pages[i-1].Rows)) || p.Less != (i > 1) || !p.More {
					t.Fatalf("%s: back to page %d: %v", q.Sort, i-1, names(p.Rows))
				}
			}
		}
	}
	if first := table.Page(Filter{}, 1).Rows[0]; first.State != Failed {
		t.Errorf("the first host is %s", first.State)
	}
}

func TestFiltersAndFacetsAreWhatALookAtEachHostGives(t *testing.T) {
	t.Parallel()
	table, _ := fleet(300)
	all := table.Page(Filter{}, 1000).Rows
	field := []func(Row) string{
		func(r Row) string { return string(r.State) },
		func(r Row) string {
			if r.Ring == "" {
				return None
			}
			return r.Ring
		},
		func(r Row) string { return r.Site },
		func(r Row) string {
			if r.Release == 0 {
				return None
			}
			return fmt.Sprint(r.Release)
		},
		func(r Row) string { return r.Platform.String() },
	}
	even := func(host string) bool { return host == "stray" || host[len(host)-1]%2 == 0 }
	for _, f := range []Filter{
		{},
		{Query: Query{State: []string{"failed", "waiting"}}},
		{Query: Query{State: []string{"failed"}, Ring: []string{"late"}, Platform: []string{"linux/amd64"}}},
		{Query: Query{Release: []string{"1"}, Site: []string{"muc", "gone"}}},
		{Query: Query{Release: []string{None}}},
		{Query: Query{Q: "web0001*"}},
		{Query: Query{Q: "web0001 FELL", Ring: []string{"all"}}},
		{Query: Query{Q: pkg(1).Hex()[:6]}},
		{Query: Query{Code: []string{"host-condition"}, Agent: []string{"1.4.2"}}},
		{Query: Query{Package: []string{pkg(2).Hex()[:8]}, State: []string{"up-to-date"}}},
		{Query: Query{State: []string{"waiting"}}, Sees: even, Key: "even"},
		{Query: Query{Q: "web"}, Installed: map[schema.Digest]bool{pkg(1): true}},
	} {
		base := func(r Row) bool {
			if f.Sees != nil && !f.Sees(r.Name) || f.Installed != nil && !f.Installed[r.Installed] {
				return false
			}
			for _, w := range strings.Fields(f.Q) {
				prefix, _ := strings.CutSuffix(w, "*")
				if !strings.HasPrefix(r.Name, prefix) && !strings.Contains(strings.ToLower(r.Error),
					strings.ToLower(w)) &&
					!strings.HasPrefix(r.Installed.Hex(), w) && !strings.HasPrefix(r.Downloaded.Hex(), w) {
					return false
				}
			}
			return (len(f.Code) == 0 || slices.Contains(f.Code, r.Code)) && (len(f.Agent) == 0 ||
				slices.Contains(f.Agent, r.Program)) &&
				(len(f.Package) == 0 || strings.HasPrefix(r.Target.Hex(), f.Package[0]))
		}
		wants := [][]string{f.State, f.Ring, f.Site, f.Release, f.Platform}
		fits := func(r Row, but int) bool {
			for d, list := range wants {
				if d != but && len(list) > 0 && !slices.Contains(list, field[d](r)) {
					return false
				}
			}
			return base(r)
		}
		var rows []string
		total := 0
		facets := [dimensions]map[string]int{}
		for d := range dimensions {
			facets[d] = map[string]int{}
		}
		for _, r := range all {
			if r.State != NotInGit && (f.Sees == nil || f.Sees(r.Name)) {
				total++
			}
			if fits(r, -1) {
				rows = append(rows, r.Name)
			}
			for d := range dimensions {
				if fits(r, d) {
					facets[d][field[d](r)]++
				}
			}
		}
		p := table.Page(f, 1000)
		for d := range dimensions { // what is asked for is shown with zero
			maps.DeleteFunc(p.Facets[d], func(_ string, n int) bool { return n == 0 })
		}
		if !slices.Equal(names(p.Rows), rows) || p.Matched != len(rows) || p.Total != total {
			t.Errorf("%+v: %d of %d, matched %d of %d\n%v\n%v", f.Query, len(p.Rows), p.Total, p.Matched, total,
				names(p.Rows), rows)
		}
		if !reflect.DeepEqual(p.Facets, facets) {
			t.Errorf("%+v: facets %v, want %v", f.Query, p.Facets, facets)
		}
		var listed []string
		for r := range table.All(f) {
			listed = append(listed, r.Name)
		}
		if slices.Sort(rows); !slices.Equal(listed, rows) {
			t.Errorf("%+v: the whole list has %d hosts, want %d", f.Query, len(listed), len(rows))
		}
	}
}

func TestOthersHostsDoNotExistForAUserCountsIncluded(t *testing.T) {
	t.Parallel()
	table, _ := fleet(100)
	sees := func(host string) bool { return host[0] == 'w' && host < hostName(10) }
	f := Filter{Sees: sees, Key: "ten"}
	p, c := table.Page(f, 1000), table.Counts(f)
	if p.Total != 10 || p.NotInGit != 0 || len(p.Rows) != 10 || c.Total != 10 || c.State[NotInGit] != 0 {
		t.Errorf("%d %d %d, %+v", p.Total, p.NotInGit, len(p.Rows), c)
	}
	for _, g := range c.Groups {
		if g.Hosts > 10 {
			t.Errorf("%+v", g)
		}
	}
	if _, _, _, ok := table.Row(hostName(50), sees); ok {
		t.Error("a host of others is there")
	}
	table.Register("web000003a", Registration{At: noon})
	if p := table.Page(f, 1000); p.NotInGit != 1 || len(p.Rows) != 11 {
		t.Errorf("after a host came: %d, %d", p.NotInGit, len(p.Rows))
	}
}

func TestAQueryThatMeansNothingIsAnError(t *testing.T) {
	t.Parallel()
	for _, q := range []Query{{State: []string{"ill"}}, {Sort: "colour"}, {After: "!"}, {Before: "e30x"},
		{Q: strings.Repeat("x", 500)},
		{Ring: make([]string, 65)}, {After: "e30", Before: "e30"}} {
		if q.Check() == nil {
			t.Errorf("%+v is accepted", q)
		}
	}
	if err := (&Query{State: []string{"up-to-date"}, Sort: "-check", Q: "web*"}).Check(); err != nil {
		t.Error(err)
	}
}

func BenchmarkTable(b *testing.B) {
	const n = 100_000
	table, c := fleet(n)
	half := Filter{Sees: func(host string) bool { return host[len(host)-1]%2 == 0 }, Key: "half"}
	b.Run("counts", func(b *testing.B) {
		for b.Loop() {
			table.Counts(Filter{})
		}
	})
	b.Run("counts of half the fleet", func(b *testing.B) {
		for b.Loop() {
			table.Counts(half)
		}
	})
	middle := table.Page(Filter{Query: Query{Sort: SortCheck}}, PageSize)
	for name, f := range map[string]Filter{
		"default":      {},
		"by name":      {Query: Query{Sort: SortHost}},
		"by check":     {Query: Query{Sort: SortCheck, After: middle.After()}},
		"by -ring":     {Query: Query{Sort: "-ring"}},
		"rare release": {Query: Query{Release: []string{"7"}}},
		"no match":     {Query: Query{Q: "*zzz*"}},
		"wildcards":    {Query: Query{Q: "*123*"}},
		"error word":   {Query: Query{Q: "fell", State: []string{"failed"}}},
		"hash":         {Query: Query{Q: "dc51", Ring: []string{"late"}}},
		"half":         half,
	} {
		b.Run("page "+name, func(b *testing.B) {
			for b.Loop() {
				table.Page(f, PageSize)
			}
		})
	}
	b.Run("idle poll", func(b *testing.B) {
		i := 0
		for b.Loop() {
			table.Poll(hostName(i%n), c.at, report(i%n))
			i++
		}
	})
	b.Run("changed poll", func(b *testing.B) {
		i := 0
		for b.Loop() {
			table.Poll(hostName(i%n), c.at, report(i%n+i/n+1))
			i++
		}
	})
	b.Run("publish", func(b *testing.B) {
		for b.Loop() {
			publish(table, n, true)
		}
	})
}

func TestSinceWhenAHostIsInItsStateIsKnownAfterARestartIfItStillIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		last  State
		since time.Time
	}{{UpToDate, ago(50 * time.Hour)}, {Updating, time.Time{}}} {
		table := New((&clock{noon}).now)
		publish(table, 10, true)
		table.Load(hostName(9), Registration{At: ago(100 * time.Hour)}, ago(time.Minute), report(9),
			Change{State: c.last, At: ago(50 * time.Hour)})
		if row, _, _, _ := table.Row(hostName(9), nil); row.State != UpToDate || !row.Since.Equal(c.since) {
			t.Errorf("after %s: %s since %s", c.last, row.State, row.Since)
		}
	}
}
