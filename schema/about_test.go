package schema

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestAboutKeepsToItsSize(t *testing.T) {
	long := strings.Repeat("ü\"", 1000)
	for _, test := range []struct{ findings, keys int }{{0, 0}, {3, 2}, {5000, 10}, {10, 5000}} {
		a := &About{Schema: AboutSchema, Subject: long, Author: "\xff" + long,
			Keys: []AboutKey{}, Findings: []AboutFinding{}}
		for i := range test.findings {
			f := AboutFinding{Level: "warning", Message: fmt.Sprint(i, long), At: "hosts/a.cue:1:2"}
			a.Findings = append(a.Findings, f)
		}
		for i := range test.keys {
			a.Keys = append(a.Keys, AboutKey{Name: fmt.Sprint("key-", i), Uses: []string{"package"}})
		}
		if err := a.Fit(); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(a)
		if err != nil || len(b) > MaxAbout {
			t.Errorf("%v: %d bytes, %v", test, len(b), err)
		}
		if got := len(a.Findings) + len(a.Keys) + a.Left; got != test.findings+test.keys {
			t.Errorf("%v: %d counted", test, got)
		}
		if test.findings == 3 && a.Left != 0 {
			t.Errorf("%d left out of what fits", a.Left)
		}
		if len(a.Subject) > MaxAboutText || !utf8.ValidString(a.Author) {
			t.Errorf("subject of %d bytes, author %q", len(a.Subject), a.Author)
		}
		again := *a
		if err := again.Fit(); err != nil || fmt.Sprint(again) != fmt.Sprint(*a) {
			t.Error("fits differently a second time")
		}
	}
}
