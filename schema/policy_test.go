package schema

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	older   = DigestOf([]byte("older"))
	newer   = DigestOf([]byte("newer"))
	foreign = DigestOf([]byte("foreign"))
)

// rollout is a policy with a prompt and a late ring, and a host in the prompt one with two candidates: release 7 of
// start, and release 5 of a week before.
func rollout() (*Policy, *Assignment) {
	p := &Policy{Schema: PolicySchema, Fleet: "f", Enabled: true, Rings: []Ring{{Name: "prompt"}, {Name: "late", Delay: Duration(3 * day)}}}
	a := &Assignment{Host: "web01", SHA256: newer, Length: 1, Target: Target{Manifest: newer, Recipe: "0123456789abcdef", Ring: "prompt",
		Selected: true, Release: 7, Since: start,
		Older: []Candidate{{SHA256: older, Length: 1, Manifest: older, Recipe: "0123456789abcdef", Release: 5, Since: start.Add(-7 * day)}}}}
	return p, a
}

func TestWhatAHostMayDo(t *testing.T) {
	late := func(_ *Policy, a *Assignment) { a.Ring = "late" }
	for _, c := range []struct {
		name   string
		change func(p *Policy, a *Assignment)
		s      Standing
		after  time.Duration
		code   string
		pkg    Digest // for install and current
	}{
		{"a new host takes the newest", nil, Standing{}, 0, CodeInstall, newer},
		{"a host with the older package takes the newest", nil, Standing{Installed: older, Release: 5}, 0, CodeInstall, newer},
		{"a host with the newest is up to date", nil, Standing{Installed: newer, Release: 7}, 0, CodeCurrent, newer},
		{"a host with a package by hand takes the newest", nil, Standing{Installed: foreign}, 0, CodeInstall, newer},

		{"the master switch stops it", func(p *Policy, _ *Assignment) { p.Enabled = false }, Standing{}, 0, CodeDisabled, Digest{}},
		{"a host that is not selected holds", func(_ *Policy, a *Assignment) { a.Selected = false }, Standing{}, 0, CodeNotSelected, Digest{}},
		{"a host without a ring holds", func(_ *Policy, a *Assignment) { a.Ring = "" }, Standing{}, 0, CodeNoRing, Digest{}},
		{"a host in a ring that there is not holds", func(_ *Policy, a *Assignment) { a.Ring = "gone" }, Standing{}, 0, CodeNoRing, Digest{}},
		{"a ring without a name is no ring", func(p *Policy, a *Assignment) { a.Ring = ""; p.Rings[0].Name = "" }, Standing{}, 0, CodeNoRing, Digest{}},

		{"before its delay a late host takes the older candidate", late, Standing{}, 0, CodeInstall, older},
		{"a second before its delay is over it waits", late, Standing{Installed: older, Release: 5}, 3*day - time.Second, CodeWaiting, Digest{}},
		{"when its delay is over it takes the newest", late, Standing{Installed: older, Release: 5}, 3 * day, CodeInstall, newer},
		{"where nothing is due yet it waits", func(p *Policy, a *Assignment) { late(p, a); a.Older = nil }, Standing{}, 0, CodeWaiting, Digest{}},

		{"a release that failed here is passed over", nil, Standing{Failed: []int64{7}}, 0, CodeInstall, older},
		{"after going back the host does not look up to date", nil,
			Standing{Installed: older, Release: 5, Failed: []int64{7}}, 0, CodeFailed, newer},
		{"a release that failed elsewhere in time does not matter", nil, Standing{Failed: []int64{6}}, 0, CodeInstall, newer},
		{"where all failed it holds", nil, Standing{Failed: []int64{5, 7}}, 0, CodeFailed, newer},

		{"a revoked newest is passed over", func(p *Policy, _ *Assignment) { p.Revoked = []Digest{newer} }, Standing{}, 0, CodeInstall, older},
		{"with the newest revoked the older is up to date", func(p *Policy, _ *Assignment) { p.Revoked = []Digest{newer} },
			Standing{Installed: older, Release: 5}, 0, CodeCurrent, older},
		{"a revoked installed package gives way to the older", func(p *Policy, _ *Assignment) { p.Revoked = []Digest{newer} },
			Standing{Installed: newer, Release: 7}, 0, CodeInstall, older},
		{"where all are revoked it holds", func(p *Policy, _ *Assignment) { p.Revoked = []Digest{newer, older} },
			Standing{Installed: newer, Release: 7}, 0, CodeRevoked, Digest{}},
		{"a revoked older candidate is passed over too", func(p *Policy, a *Assignment) { late(p, a); p.Revoked = []Digest{older} },
			Standing{}, 0, CodeWaiting, Digest{}},
		{"what failed says more than what is revoked", func(p *Policy, _ *Assignment) { p.Revoked = []Digest{newer} },
			Standing{Failed: []int64{5}}, 0, CodeFailed, older},

		{"an older candidate is no way back", func(p *Policy, a *Assignment) { late(p, a) }, Standing{Installed: newer, Release: 7}, 0, CodeCurrent, newer},
		{"nor from a package that is not a candidate any more", nil, Standing{Installed: foreign, Release: 9}, 0, CodeCurrent, Digest{}},
		{"nor does it wait for one", late, Standing{Installed: foreign, Release: 9}, 0, CodeCurrent, Digest{}},
		{"the same digest under a new release number is up to date", nil, Standing{Installed: newer, Release: 3}, 0, CodeCurrent, newer},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, a := rollout()
			if c.change != nil {
				c.change(p, a)
			}
			v := p.Decide(a, c.s, start.Add(c.after))
			if v.Code != c.code || v.Package.SHA256 != c.pkg || v.Why == "" {
				t.Errorf("%s of %s: %s", v.Code, v.Package.SHA256.Short(), v.Why)
			}
			if v.Install() != (c.code == CodeInstall) {
				t.Error("Install disagrees with the code")
			}
		})
	}
}

func TestContentComesFromTheOriginsThatSignedPolicyNames(t *testing.T) {
	p := &Policy{Sites: map[string]Site{"central": {URL: "https://bakehouse.example:8443/base", Certificates: "central's"}, "plain": {URL: "http://plain.example"}},
		Downloads: &Downloads{Origins: []string{"https://CDN.example", "https://[2001:db8::1]:9443"}, Certificates: "cdn's"}}
	for _, c := range []struct{ at, certificates string }{
		{"https://bakehouse.example:8443/x", "central's"},
		{"https://cdn.example/deep/path?signature=x", "cdn's"},
		{"https://cdn.example:443/", "cdn's"},
		{"https://[2001:db8::1]:9443/x", "cdn's"},
		{"https://bakehouse.example/x", ""}, // another port
		{"http://cdn.example/x", ""},
		{"http://plain.example/x", ""},
		{"https://plain.example/x", ""},
		{"https://cdn.example.evil.example/x", ""},
		{"https://cdn.example@evil.example/x", ""},
		{"https://user:secret@cdn.example/x", ""}, // not with credentials
		{"https:///x", ""},
		{"/x", ""},
		{"ftp://cdn.example/x", ""},
	} {
		u, err := url.Parse(c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := p.Origin(u); got != c.certificates || ok != (c.certificates != "") {
			t.Errorf("%s: %q, %v", c.at, got, ok)
		}
	}
	p.Downloads = nil
	if u, _ := url.Parse("https://cdn.example"); u != nil {
		if _, ok := p.Origin(u); ok {
			t.Error("an origin that nothing names")
		}
	}
}

// What is added to the policy must not stop the hosts of a fleet that run the program before: it decodes these fields.
func TestTheProgramBeforeReadsThePolicyOfThisOne(t *testing.T) {
	p, _ := rollout()
	p.Revoked, p.MaxHold, p.Downloads = []Digest{foreign}, Duration(day), &Downloads{Origins: []string{"https://cdn.example"}}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var before struct {
		Schema  int
		Fleet   string
		Issued  time.Time
		Enabled bool
		Rings   []Ring
		Revoked []Digest
		MaxHold Duration
		Sites   map[string]Site
	}
	if err := Decode(b, &before); err != nil || before.Schema != 1 || !before.Enabled || len(before.Rings) != 2 || before.Revoked[0] != foreign {
		t.Errorf("%v: it reads %+v", err, before)
	}
}

func TestTheTwoPhrasesThatCheckmkRecognises(t *testing.T) {
	p, a := rollout()
	a.Selected = false
	if v := p.Decide(a, Standing{}, start); !strings.Contains(v.Why, "agent updates are disabled for host") {
		t.Error(v.Why)
	}
	p.Enabled = false
	if v := p.Decide(a, Standing{}, start); !strings.Contains(v.Why, "deployment is currently globally disabled") {
		t.Error(v.Why)
	}
}

func TestNothingIsInstalledThatPolicyForbids(t *testing.T) {
	digests := []Digest{older, newer, foreign, DigestOf([]byte("third"))}
	rapid.Check(t, func(r *rapid.T) {
		p, a := rollout()
		p.Enabled = rapid.Bool().Draw(r, "enabled")
		a.Selected = rapid.Bool().Draw(r, "selected")
		a.Ring = rapid.SampledFrom([]string{"prompt", "late", "gone", ""}).Draw(r, "ring")
		p.Revoked = rapid.SliceOfN(rapid.SampledFrom(digests), 0, 2).Draw(r, "revoked")
		a.Older = nil
		release, since := a.Release, a.Since
		for range rapid.IntRange(0, MaxOlder).Draw(r, "older") {
			release -= rapid.Int64Range(1, 3).Draw(r, "step")
			since = since.Add(-time.Duration(rapid.Int64Range(0, int64(5*day)).Draw(r, "age")))
			d := rapid.SampledFrom(digests).Draw(r, "candidate")
			a.Older = append(a.Older, Candidate{SHA256: d, Length: 1, Manifest: d, Recipe: a.Recipe, Release: release, Since: since})
		}
		s := Standing{Installed: rapid.SampledFrom(append(digests, Digest{})).Draw(r, "installed"),
			Release: rapid.Int64Range(0, 9).Draw(r, "installed release"), Failed: rapid.SliceOfN(rapid.Int64Range(1, 8), 0, 3).Draw(r, "failed")}
		now := start.Add(time.Duration(rapid.Int64Range(-int64(5*day), int64(5*day)).Draw(r, "now")))

		v := p.Decide(a, s, now)
		if v.Why == "" {
			r.Fatal("no reason")
		}
		if !v.Install() {
			return
		}
		c := v.Package
		switch delay := map[string]time.Duration{"late": 3 * day}[a.Ring]; {
		case !p.Enabled, !a.Selected, a.Ring != "prompt" && a.Ring != "late":
			r.Fatal("the host is held")
		case !slices.Contains(a.Candidates(), c):
			r.Fatal("it is no candidate")
		case slices.Contains(p.Revoked, c.SHA256):
			r.Fatal("it is revoked")
		case slices.Contains(s.Failed, c.Release):
			r.Fatal("it failed here")
		case now.Before(c.Since.Add(delay)):
			r.Fatal("its ring's delay is not over")
		case c.SHA256 == s.Installed:
			r.Fatal("it is installed")
		case c.Release <= s.Release && !slices.Contains(p.Revoked, s.Installed):
			r.Fatal("it is a way back that nobody signed for")
		}
	})
}
