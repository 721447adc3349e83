package desired

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"bakehouse/reconcile/rules"
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

func TestWhatNothingReadsIsNamed(t *testing.T) {
	files := fstest.MapFS{}
	for name, text := range map[string]string{
		"fleet.cue":               "package fleet\nname: \"acme\"\nurl: \"https://b.example\"\n",
		"more_tool.cue":           "package fleet\n",
		"Makefile":                "",
		"hosts.yaml":              "",
		"README.md":               "",
		"access.cue":              "package fleet\n",
		"elsewhere/motd":          "",
		"host/hosts.cue":          "package hosts\n",
		"hosts/hosts.cue":         "package hosts\nhosts: a: {platform: \"linux/amd64\", format: \"deb\"}\n",
		"hosts/rules.cue":         "package hosts\nrules: p: [{value: {}}]\n",
		"hosts/load_test.cue":     "package hosts\nhosts: b: {}\n",
		"hosts/_more.cue":         "package hosts\nhosts: c: {}\n",
		"hosts/More.CUE":          "package hosts\nhosts: d: {}\n",
		"hosts/more.json":         "{}",
		"hosts/web/hosts":         "",
		"hosts/web/.gitkeep":      "",
		"hosts/web/motd":          "taken as it is",
		"hosts/_old/hosts.cue":    "package old\nhosts: e: {}\n",
		"hosts/.new/x/hosts.cue":  "package x\n",
		"keys/k.yml":              "",
		"keys/old.key":            "",
		"keys/later/k.cue":        "package later\n",
		"sites/s.txt":             "",
		"sites/LICENSE":           "",
		"plugins/readme.cue.orig": "",
		"plugins/p/plugin.cue": "package p\nplugin: files: {\"/a\": source: \"data/a\",\n" +
			"\"/b\": source: \"/hosts/web/motd\"}\n",
		"plugins/p/data/a":               "",
		"plugins/p/data/b":               "",
		"plugins/p/data/deep/params.cue": "package p\n",
		"plugins/p/plugin_test.cue":      "package p\n",
		"plugins/unused/plugin.cue":      "package unused\nplugin: files: \"/c\": source: \"c\"\n",
		"plugins/unused/c":               "",
		"plugins/unused/data/params.cue": "package unused\n",
		"plugins/_disabled/plugin.cue":   "package disabled\n",
		"trust/README":                   "",
		"cue.mod/module.cue":             "",
		"plugins/p/data/AUTHORS":         "",
	} {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	d, err := (&State{Files: files}).Diagnose(t.Context(), schema.KeyExpiry{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, found := range d.Diagnostics {
		if strings.HasPrefix(found.Msg, "nothing reads this") {
			got = append(got, found.Level+" "+found.Pos.File)
		}
	}
	want := []string{
		"warning host/hosts.cue", "warning hosts/.new", "warning hosts/More.CUE", "warning hosts/_more.cue",
		"warning hosts/_old", "warning hosts/load_test.cue", "warning hosts/more.json", "warning hosts/web/hosts",
		"notice hosts.yaml", "warning keys/k.yml", "warning keys/later", "warning more_tool.cue",
		"warning plugins/_disabled", "notice plugins/p/data/b", "warning plugins/p/data/deep/params.cue",
		"warning plugins/p/plugin_test.cue", "warning plugins/readme.cue.orig",
		"warning plugins/unused/data/params.cue",
		"warning sites/s.txt",
	}
	slices.SortFunc(want, func(a, b string) int {
		_, a, _ = strings.Cut(a, " ")
		_, b, _ = strings.Cut(b, " ")
		return strings.Compare(a, b)
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s\nwant\n%s\nof %+v", strings.Join(got, "\n"), strings.Join(want, "\n"), d.Diagnostics)
	}
}

func TestThousandsOfUnreadFilesAreOneLineMore(t *testing.T) {
	f := &fleet.Fleet{}
	for i := range 3000 {
		f.Unread = append(f.Unread, fleet.Unread{Problem: fleet.Problem{Msg: "nothing reads this file",
			Pos: fleet.Pos{File: fmt.Sprintf("hosts/%04d", i)}}})
	}
	out := unread(f, &rules.Resolved{})
	if last := out[len(out)-1]; len(out) != maxUnread || last.Pos.File != "hosts/0019" ||
		last.Msg != "nothing reads this, nor 2980 more files and folders" {
		t.Errorf("%d: %+v", len(out), last)
	}
}

func TestAnAuthorityOfServersThatEndsSoonIsWarnedOfWhereItIsWritten(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := fleet.Pos{File: "sites/s.cue", Line: 4, Col: 2}
	for name, c := range map[string]struct {
		left time.Duration
		want string
	}{
		"91 days are left": {91 * day, ""},
		"90 days are left": {90 * day, `certificate "Site CA" expires in 90 days, on 2030-04-01`},
		"it has ended": {-time.Hour,
			`certificate "Site CA" has expired on 2029-12-31: hosts believe no server by it`},
	} {
		t.Run(name, func(t *testing.T) {
			cert := &x509.Certificate{Subject: pkix.Name{CommonName: "Site CA"}, NotAfter: now.Add(c.left)}
			got := ofAuthorities(&fleet.Fleet{Authorities: []fleet.Authority{{Pos: at, Cert: cert}}}, now)
			if c.want == "" && len(got) == 0 {
				return
			}
			if len(got) != 1 || got[0].Level != Warning || got[0].Msg != c.want || got[0].Pos != at ||
				got[0].Hint == "" {
				t.Errorf("got %+v, want %s", got, c.want)
			}
		})
	}
}
