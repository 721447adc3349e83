package schema

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestHostPatternsCoverWholeNames(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"web01", "web01", true}, {"web01", "web011", false}, {"web", "web01", false}, {"", "", true},
		{"web.1", "webx1", false},
		{"~web01", "web010", false}, {"~web01", "web01", true}, {"~web01", "xweb01", false}, {"~web.*", "web010", true},
		{"~web", "web01", false}, {"~web0[12]$", "web012", false}, {"~web0[12]$", "web02", true},
		{"~", "anything", false}, {"~a|b", "b", true}, {"~a|b", "xb", false},
		{"~a|b", "ax", false}, {"~.*b", "xb", true},
		{"~(?i)WEB01", "web01", true}, {"~(?m)web$", "web\nx", false}, {"~(?m)^web", "x\nweb", false},
	} {
		if got, err := MatchHost(c.pattern, c.host); got != c.want || err != nil {
			t.Errorf("%q on %q: %v, %v", c.pattern, c.host, got, err)
		}
	}
	for _, pattern := range []string{"~(", "~web)|(?:.*"} {
		if ok, err := MatchHost(pattern, "("); ok || err == nil {
			t.Errorf("%q is no regular expression and matches", pattern)
		}
	}
}

func TestAPermissionCoversItsHostsOnly(t *testing.T) {
	u := User{Permissions: map[string][]string{PermRegister: {"~(", "~web.*", "db01"}}}
	for host, want := range map[string]bool{"web01": true, "db01": true, "db02": false, "(": false} {
		if u.Allows(PermRegister, host) != want {
			t.Errorf("register %s: %v", host, !want)
		}
		if u.Allows(PermDownload, host) {
			t.Errorf("download %s comes with register", host)
		}
	}
	if (User{}).Allows(PermRegister, "web01") {
		t.Error("no permissions allow")
	}
}

// A permission that only Go knows could not be given, and one that only CUE knows would be given to nobody's use.
func TestTheCUESchemaListsThePermissions(t *testing.T) {
	b, err := CUE.ReadFile("root.cue")
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	want.WriteString("\tpermissions!: {\n")
	for _, p := range Permissions {
		fmt.Fprintf(&want, "\t\t%s?: [...#AccessPattern] // %s\n", p.Name, p.Meaning)
	}
	want.WriteString("\t}\n")
	if !strings.Contains(string(b), want.String()) {
		t.Errorf("root.cue does not have\n%s", &want)
	}
}

func TestRetirementSaysTheCommonDurationOnce(t *testing.T) {
	month, week := Duration(30*24*time.Hour), Duration(7*24*time.Hour)
	r := NewRetirement(map[string]Duration{"a": month, "b": month, "c": month, "d": week, "f": week, "e": 0})
	if r.Default != month || len(r.Hosts) != 2 || !slices.Equal(r.Hosts[week], []string{"d", "f"}) ||
		!slices.Equal(r.Hosts[0], []string{"e"}) {
		t.Fatalf("%+v", r)
	}
	for host, want := range map[string]Duration{"a": month, "d": week, "f": week, "e": 0, "not in the fleet": month} {
		if got := r.After(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
	if r := NewRetirement(map[string]Duration{"a": 0, "b": 0}); r != nil {
		t.Errorf("no host is ever retired, but there is %+v", r)
	}
	if (*Retirement)(nil).After("a") != 0 {
		t.Error("without any retirement a host is retired")
	}
	// As many hosts each way: the same every time.
	for range 20 {
		if r := NewRetirement(map[string]Duration{"a": week, "b": month, "c": 0}); r.Default != 0 {
			t.Fatalf("%+v", r)
		}
	}
}
