package judge

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/publish"
	"bakehouse/schema"
)

// contents says how what hosts and servers are told differs from what follows.
func contents(n *publish.Next, next *publish.State) ([]Entry, error) {
	var found []Entry
	published := map[string]any{schema.PolicyTarget: next.Policy(), schema.ReleaseTarget: next.Release(),
		schema.AccessTarget: next.Access(), schema.AboutTarget: next.About()}
	for _, name := range slices.Sorted(maps.Keys(published)) {
		want := n.Targets[name]
		listed := next.Listed(name)
		if want == nil && listed.IsZero() || want != nil && listed == schema.DigestOf(want) {
			continue
		}
		got, err := json.Marshal(published[name])
		if err != nil {
			return nil, err
		}
		if want == nil {
			want = []byte("null")
		}
		in, err := fields(name, got, want, name == schema.AccessTarget)
		if err != nil {
			return nil, err
		}
		if len(in) == 0 {
			in = []Entry{{"", name, "the file has other bytes than follow"}}
		}
		found = append(found, in...)
	}
	for want := range n.Given() {
		if got := next.Assignments()[want.Host]; got != nil {
			found = append(found, assignment(got, want)...)
		}
	}
	return found, nil
}

// assignment says how what a host is given differs. The package itself is another question.
func assignment(got *schema.Assignment, want schema.Assignment) (found []Entry) {
	differ := func(field string, published, follows any) {
		if published != follows {
			found = append(found, Entry{want.Host, field,
				fmt.Sprintf("%v is published, and %v follows", published, follows)})
		}
	}
	text := func(s string) string {
		if s == "" {
			return "none"
		}
		return s
	}
	differ("site", text(got.Site), text(want.Site))
	differ("ring", text(got.Ring), text(want.Ring))
	differ("was", text(strings.Join(got.Was, ", ")), text(strings.Join(want.Was, ", ")))
	differ("selected", got.Selected, want.Selected)
	differ("release", got.Release, want.Release)
	differ("since", stamp(got.Since), stamp(want.Since))
	for _, c := range got.Older {
		switch i := slices.IndexFunc(want.Older, func(w schema.Candidate) bool { return w.SHA256 == c.SHA256 }); {
		case i < 0:
			found = append(found, Entry{want.Host, "older", fmt.Sprintf(
				"package %s of release %d was not given to it by the state before", c.SHA256, c.Release)})
		case want.Older[i] != c:
			found = append(found, Entry{want.Host, "older", fmt.Sprintf(
				"package %s is of release %d since %s, and release %d since %s follows", c.SHA256, c.Release,
				stamp(c.Since), want.Older[i].Release, stamp(want.Older[i].Since))})
		}
	}
	for _, w := range want.Older {
		if !slices.ContainsFunc(got.Older, func(c schema.Candidate) bool { return c.SHA256 == w.SHA256 }) {
			found = append(found, Entry{want.Host, "older", fmt.Sprintf("package %s of release %d is missing", w.SHA256,
				w.Release)})
		}
	}
	return found
}

// maxValue bounds how much of a value is shown.
const maxValue = 120

// fields compares two JSON objects and names each field that differs by its path. secret values are not shown.
func fields(path string, got, want []byte, secret bool) ([]Entry, error) {
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(want, &b); err != nil {
		return nil, err
	}
	return differences(path, a, b, secret), nil
}

func differences(path string, got, want any, secret bool) (found []Entry) {
	a, isA := got.(map[string]any)
	b, isB := want.(map[string]any)
	if isA && isB {
		names := slices.Collect(maps.Keys(a))
		names = slices.AppendSeq(names, maps.Keys(b))
		slices.Sort(names)
		for _, name := range slices.Compact(names) {
			found = append(found, differences(path+"."+name, a[name], b[name], secret)...)
		}
		return found
	}
	x, y := shown(got), shown(want)
	if x == y {
		return nil
	}
	reason := fmt.Sprintf("%.*s is published, and %.*s follows", maxValue, x, maxValue, y)
	if secret {
		reason = "is not what follows"
		switch {
		case want == nil:
			reason = "is published, and the commit does not have it"
		case got == nil:
			reason = "is missing, and the commit has it"
		}
	}
	return []Entry{{"", path, reason}}
}

func shown(v any) string {
	if v == nil {
		return "nothing"
	}
	b, _ := json.Marshal(v)
	return strings.ToValidUTF8(string(b), "?")
}
