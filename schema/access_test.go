package schema

import "testing"

func TestHostPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"web01", "web01", true}, {"web01", "web011", false}, {"web", "web01", false}, {"", "", true},
		{"web.1", "webx1", false},
		{"~web", "web01", true}, {"~web", "myweb01", false}, {"~web0[12]$", "web012", false}, {"~web0[12]$", "web02", true},
		{"~", "anything", true}, {"~a|b", "b", true}, {"~a|b", "xb", false}, {"~.*b", "xb", true},
		{"~(?i)WEB", "web01", true},
	} {
		if got, err := MatchHost(c.pattern, c.host); got != c.want || err != nil {
			t.Errorf("%q on %q: %v, %v", c.pattern, c.host, got, err)
		}
	}
	if ok, err := MatchHost("~(", "("); ok || err == nil {
		t.Error("a pattern that is no regular expression matches")
	}
}

func TestAPermissionCoversItsHostsOnly(t *testing.T) {
	u := User{Permissions: map[string][]string{PermRegister: {"~(", "~web", "db01"}}}
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
