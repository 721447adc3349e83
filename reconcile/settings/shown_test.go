package settings

import "testing"

func TestThePasswordInAURLIsNotTold(t *testing.T) {
	for value, want := range map[string]string{
		"inventory.db": "inventory.db", "C:store": "C:store", "~web.*": "~web.*",
		"https://a.example:8443":                 "https://a.example:8443",
		"postgres://ops:s3cret@db/x":             "postgres://ops:xxxxx@db/x",
		"postgres://db/x?password=s3cret&a=b":    "postgres://db/x?a=b&password=xxxxx",
		"postgres://ops:s3 cret%zz@[db/x:s3cret": "(a URL)",
	} {
		if got := shown(value); got != want {
			t.Errorf("%q is shown as %q, want %q", value, got, want)
		}
	}
}
