package desired

import (
	"testing"
	"testing/fstest"
	"time"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
)

// accessOf evaluates and resolves a small fleet.
func accessOf(t *testing.T, hosts string) *schema.Access {
	t.Helper()
	repo, err := evaluate.Load(t.Context(), fstest.MapFS{
		"fleet.cue": {Data: []byte("package fleet\nname: \"acme\"\nurl: \"https://b.example\"\n")},
		"hosts/hosts.cue": {Data: []byte("package hosts\n" +
			"defaults: {platform: \"linux/amd64\", format: \"deb\"}\n" + hosts)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := rules.Resolve(t.Context(), repo.Fleet, repo)
	if err != nil {
		t.Fatal(err)
	}
	return (&State{Fleet: repo.Fleet, Resolved: resolved}).Access()
}

func TestServersLearnAfterWhatTimeEachHostMayBeRetired(t *testing.T) {
	const five = "hosts: {a: {}, b: {}, c: {}, d: {retireAfter: \"90d\"}, e: {retireAfter: \"0s\"}}\n"
	access := accessOf(t, five+`defaults: retireAfter: "30d"
rules: host: [{when: hosts: ["c"], value: retireAfter: "7d"}]
`)
	if access == nil {
		t.Fatal("without users nothing is published")
	}
	for host, days := range map[string]time.Duration{"a": 30, "b": 30, "c": 7, "d": 90, "e": 0} {
		if got := time.Duration(access.Retirement.After(host)); got != days*24*time.Hour {
			t.Errorf("%s: %s, want %d days", host, got, days)
		}
	}
	if access := accessOf(t, five[:len("hosts: {a: {}, b: {}, c: {}")]+"}\n"); access != nil {
		t.Errorf("nobody has any access, and no host is retired, but %+v is published", access)
	}
	// A fleet that is all alike is one line, however many hosts it has.
	same := accessOf(t, "hosts: {a: {}, b: {}, c: {}}\ndefaults: retireAfter: \"30d\"\n")
	if r := same.Retirement; r.Default.String() != "30d" || r.Hosts != nil {
		t.Errorf("%+v", r)
	}
}
