package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

func TestWhatACommitMessageLetsGo(t *testing.T) {
	for name, c := range map[string]struct {
		message string
		want    []Removal
	}{
		"one folder": {"Drop it\n\nBakehouse-Remove: hosts/web 120\n", []Removal{{"hosts/web", 120}}},
		"two folders": {"x\n\nBakehouse-Remove: hosts/web 1\nBakehouse-Remove: hosts/db/old/ 2",
			[]Removal{{"hosts/web", 1}, {"hosts/db/old", 2}}},
		"the top": {"x\n\nBakehouse-Remove: hosts 7\n", []Removal{{"hosts", 7}}},
		"before another trailer": {"x\n\nBakehouse-Remove: hosts/a 3\nSigned-off-by: b <b@example.com>\n",
			[]Removal{{"hosts/a", 3}}},
		"another capitalisation":   {"x\n\nbakehouse-remove: hosts/a 3\r\n", []Removal{{"hosts/a", 3}}},
		"no number":                {"Bakehouse-Remove: hosts/web", nil},
		"a number below one":       {"Bakehouse-Remove: hosts/web 0\nBakehouse-Remove: hosts/web -1", nil},
		"no folder of hosts":       {"Bakehouse-Remove: hostsx 3\nBakehouse-Remove: / 3", nil},
		"more words":               {"Bakehouse-Remove: hosts/web 3 please", nil},
		"quoted, so not said":      {"> Bakehouse-Remove: hosts/web 3", nil},
		"a number beyond all":      {"Bakehouse-Remove: hosts/web 99999999999999999999", nil},
		"nothing about hosts":      {"Fix it", nil},
		"in the middle of a line ": {"see Bakehouse-Remove: hosts/web 3", nil},
	} {
		if got := ParseRemovals(c.message); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMoreHostsThanTheLimitGoOnlyIfTheirNumberIsSaid(t *testing.T) {
	folders := func(counts map[string]int) map[string]string {
		out := map[string]string{}
		for folder, n := range counts {
			for i := range n {
				out[fmt.Sprintf("%s-%d", folder, i)] = folder
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		gone  map[string]int
		lines []Removal
		err   string // empty: accepted
		hint  string
	}{
		"as many as the limit": {map[string]int{"hosts/web": 10}, nil, "", ""},
		"one more": {map[string]int{"hosts/web": 11}, nil, "removes 11 hosts, more than the 10",
			"hosts/web 11"},
		"one more, said": {map[string]int{"hosts/web": 11}, []Removal{{"hosts/web", 11}}, "", ""},
		"said with too small a number": {map[string]int{"hosts/web": 12}, []Removal{{"hosts/web", 11}},
			"says hosts/web 11, but there it is 12", "hosts/web 12"},
		"said with too large a number": {map[string]int{"hosts/web": 12}, []Removal{{"hosts/web", 13}},
			"says hosts/web 13, but there it is 12", ""},
		"said of another folder": {map[string]int{"hosts/web": 12}, []Removal{{"hosts/db", 12}},
			"says hosts/db 12, but there it is 0", ""},
		"said of the folder above": {map[string]int{"hosts/web/a": 8, "hosts/web/b": 4},
			[]Removal{{"hosts/web", 12}}, "", ""},
		"said of a name that only begins alike": {map[string]int{"hosts/webshop": 12}, []Removal{{"hosts/web", 12}},
			"there it is 0", ""},
		"the rest is within the limit": {map[string]int{"hosts/web": 20, "hosts/db": 10}, []Removal{{"hosts/web", 20}},
			"", ""},
		"the rest is beyond it": {map[string]int{"hosts/web": 20, "hosts/db": 11}, []Removal{{"hosts/web", 20}},
			"removes 11 hosts", "hosts/db 11"},
		"folders not known, all said": {map[string]int{"": 30}, []Removal{{"hosts", 30}}, "", ""},
		"folders not known, a folder said": {map[string]int{"": 30}, []Removal{{"hosts/web", 30}}, "there it is 0",
			"hosts 30"},
		"the top itself is worst": {map[string]int{"hosts": 20, "hosts/web": 5}, nil, "removes 25 hosts", "hosts 25"},
		"a right line beside a wrong one": {map[string]int{"hosts/web": 20}, []Removal{{"hosts/web", 19}, {"hosts/web", 20}},
			"", ""},
	} {
		err := CheckRemovals(folders(c.gone), 10, c.lines)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) ||
			!strings.HasSuffix(fault.HintOf(err), c.hint)):
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

func FuzzSavedPlan(f *testing.F) {
	good, err := Saved{Binding: Binding{Tree: "t", Head: 1, Tool: "1", Bake: 1}, Report: &Report{}}.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"schema":1,"tree":"a","tree":"b"}`))
	f.Add([]byte(`{"schema":2}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, b []byte) {
		bound, err := ParseBinding(b)
		if err == nil && (bound.Tree == "" || bound.Tool == "" || bound.CheckSource(bound) != nil ||
			bound.CheckHead(bound) != nil) {
			t.Errorf("%q is taken as %+v", b, bound)
		}
	})
}

func TestASavedPlanIsRefusedOnceAnythingMovedOn(t *testing.T) {
	now := Binding{Tree: "tree", Head: 3, Timestamp: schema.DigestOf([]byte("3")), Tool: "1.0.0", Bake: 1}
	text, err := Saved{Binding: now, Report: &Report{}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	saved, err := ParseBinding(text)
	if err != nil || saved != now {
		t.Fatalf("%+v, %v", saved, err)
	}
	for name, change := range map[string]func(*Binding){
		"another tree":                    func(b *Binding) { b.Tree = "other" },
		"another tool":                    func(b *Binding) { b.Tool = "1.0.1" },
		"another bake version":            func(b *Binding) { b.Bake = 2 },
		"a newer head":                    func(b *Binding) { b.Head = 4 },
		"another store at the same head ": func(b *Binding) { b.Timestamp = schema.DigestOf([]byte("other")) },
	} {
		moved := now
		change(&moved)
		err1, err2 := saved.CheckSource(moved), saved.CheckHead(moved)
		if (err1 == nil) == (err2 == nil) {
			t.Errorf("%s: %v and %v", name, err1, err2)
		}
		for _, err := range []error{err1, err2} {
			if err != nil && fault.HintOf(err) == "" {
				t.Errorf("%s: no hint on %v", name, err)
			}
		}
	}
}

func TestHalfOfAFleetIsNotRemovedByMistakeUnlessFleetCUESaysHowManyMayBe(t *testing.T) {
	for _, c := range []struct {
		limits     fleet.Limits
		hosts, may int
	}{
		{fleet.Limits{Removed: 50, Half: true}, 1, 1},
		{fleet.Limits{Removed: 50, Half: true}, 3, 1},
		{fleet.Limits{Removed: 50, Half: true}, 40, 20},
		{fleet.Limits{Removed: 50, Half: true}, 1000, 50},
		{fleet.Limits{Removed: 50}, 3, 50},
		{fleet.Limits{}, 3, 0},
	} {
		if got := c.limits.Removable(c.hosts); got != c.may {
			t.Errorf("%+v of %d: %d, want %d", c.limits, c.hosts, got, c.may)
		}
	}
}
