package desired

import (
	"fmt"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

func TestKeysThatExpireSoonAreTold(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		expires time.Time
		level   string
		want    string
	}{
		"a key without an end":    {time.Time{}, "", ""},
		"a key with 91 days left": {now.Add(91 * day), "", ""},
		"a key with 90 days left": {now.Add(90 * day), Notice, "key k expires in 90 days, on 2030-04-01"},
		"a key with 31 days left": {now.Add(31 * day), Notice, "key k expires in 31 days, on 2030-02-01"},
		"a key with 30 days left": {now.Add(30 * day), Warning, "key k expires in 30 days, on 2030-01-31"},
		"a key with hours left":   {now.Add(time.Hour), Warning, "key k expires in less than a day, on 2030-01-01"},
		"a key that has expired by now": {now.Add(-time.Hour), Warning,
			"key k has expired on 2029-12-31: reconcile does not sign with it"},
	} {
		t.Run(name, func(t *testing.T) {
			at := fleet.Pos{File: "keys/k.cue", Line: 4, Col: 2}
			keys := map[string]*fleet.Key{"k": {Name: "k", Expires: c.expires, Pos: at}}
			got := ofKeys(&fleet.Fleet{Keys: keys}, schema.DefaultKeyExpiry, now)
			if c.level == "" {
				if len(got) != 0 {
					t.Errorf("got %v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Level != c.level || got[0].Msg != c.want || got[0].Pos != at {
				t.Errorf("got %+v, want %s %s", got, c.level, c.want)
			}
		})
	}
}

func TestARootThatExpiresSoonIsTold(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	root := func(expires time.Time) []byte {
		return fmt.Appendf(nil, `{"signed":{"expires":%q}}`, expires.Format(time.RFC3339))
	}
	for name, c := range map[string]struct {
		roots [][]byte
		want  string
	}{
		"no root":                  {nil, ""},
		"a root with 61 days left": {[][]byte{root(now.Add(61 * day))}, ""},
		"a root with 60 days left": {[][]byte{root(now.Add(60 * day))},
			"trust/1.root.json: the root of trust expires in 60 days, on 2030-03-02"},
		"an old root that the next one replaced": {[][]byte{root(now.Add(-day)), root(now.Add(99 * day))}, ""},
		"a next root that ends too": {[][]byte{root(now.Add(99 * day)), root(now.Add(day))},
			"trust/2.root.json: the root of trust expires in 1 day, on 2030-01-02"},
		"a root that has ended": {[][]byte{root(now.Add(-day))},
			"trust/1.root.json: the root of trust has expired on 2029-12-31: nothing can be published, " +
				"and hosts install nothing new"},
		"what is no root": {[][]byte{[]byte("[]")}, ""},
	} {
		got := ""
		for _, f := range ofRoot(&fleet.Fleet{Roots: c.roots}, now) {
			got += f.Error()
			if f.Level != Warning || f.Hint == "" {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestThatNoKeyOfAUseIsValidAnyMoreIsWarnedOf(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	keys := func(second fleet.Key) *fleet.Fleet {
		second.Name, second.Uses = "b", []string{fleet.UsePackage}
		return &fleet.Fleet{Keys: map[string]*fleet.Key{"b": &second,
			"a": {Name: "a", Uses: []string{fleet.UsePackage, fleet.UseTargets}, Retired: now.Add(-time.Hour)}}}
	}
	for name, c := range map[string]struct {
		second fleet.Key
		want   int
	}{
		"a valid one is left":  {fleet.Key{}, 1}, // none for targets
		"one that has expired": {fleet.Key{Expires: now}, 2},
		"all are retired":      {fleet.Key{Retired: now}, 2},
	} {
		if got := noneValid(keys(c.second), now); len(got) != c.want || got[0].Level != Warning {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
