package judge

import (
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

func TestFieldsThatDifferAreNamedByTheirPath(t *testing.T) {
	got := `{"a":1,"b":{"c":[1,2],"d":"x"},"e":true}`
	want := `{"a":1,"b":{"c":[1],"d":"x"},"f":null,"g":"new"}`
	found, err := fields("policy", []byte(got), []byte(want), false)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range found {
		lines = append(lines, e.String())
	}
	expected := []string{"policy.b.c: [1,2] is published, and [1] follows",
		"policy.e: true is published, and nothing follows", "policy.g: nothing is published, and \"new\" follows"}
	if !slices.Equal(lines, expected) {
		t.Errorf("got %q, want %q", lines, expected)
	}
	found, err = fields("access", []byte(`{"users":{"a":{"hash":"SECRET1"},"b":{"hash":"SECRET2"}}}`),
		[]byte(`{"users":{"a":{"hash":"SECRET3"},"c":{}}}`), true)
	if err != nil || len(found) != 3 || found[0].Field != "access.users.a.hash" || found[1].Field != "access.users.b" ||
		found[2].Field != "access.users.c" {
		t.Errorf("%+v, %v", found, err)
	}
	for _, e := range found {
		if strings.Contains(e.String(), "SECRET") {
			t.Errorf("a hash is shown: %s", e)
		}
	}
}

func TestEachFieldOfAnAssignmentIsNamed(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	candidate := func(pkg string, release int64) schema.Candidate {
		return schema.Candidate{SHA256: schema.DigestOf([]byte(pkg)), Length: 1, Manifest: schema.DigestOf([]byte(pkg)),
			Recipe: "0123456789abcdef", Release: release, Since: at}
	}
	whole := func() schema.Assignment {
		return schema.Assignment{Host: "web01", SHA256: schema.DigestOf([]byte("c")),
			Target: schema.Target{Site: "central", Ring: "all", Selected: true, Release: 3, Since: at,
				Older: []schema.Candidate{candidate("b", 2), candidate("a", 1)}}}
	}
	if same := whole(); len(assignment(&same, whole())) != 0 {
		t.Error("equal assignments differ")
	}
	for field, bend := range map[string]func(a *schema.Assignment){
		"site":     func(a *schema.Assignment) { a.Site = "" },
		"ring":     func(a *schema.Assignment) { a.Ring = "canary" },
		"was":      func(a *schema.Assignment) { a.Was = []string{"app01"} },
		"selected": func(a *schema.Assignment) { a.Selected = false },
		"release":  func(a *schema.Assignment) { a.Release = 4 },
		"since":    func(a *schema.Assignment) { a.Since = at.Add(time.Second) },
		"older":    func(a *schema.Assignment) { a.Older[1].Since = at.Add(-time.Second) },
	} {
		a := whole()
		bend(&a)
		if found := assignment(&a, whole()); len(found) != 1 || found[0].Field != field || found[0].Host != "web01" {
			t.Errorf("%s: %+v", field, found)
		}
	}
	for name, older := range map[string][]schema.Candidate{
		"another": {candidate("b", 2), candidate("x", 1)}, "none": nil, "one less": {candidate("b", 2)},
		"one more": {candidate("b", 2), candidate("a", 1), candidate("x", 1)},
	} {
		a := whole()
		a.Older = older
		if found := assignment(&a, whole()); len(found) == 0 || found[0].Field != "older" {
			t.Errorf("%s: %+v", name, found)
		}
	}
}
