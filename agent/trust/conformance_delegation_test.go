package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/trusttest"
)

// edge is one delegation of a graph; its paths are "*" unless said.
type edge struct {
	from, to    string
	terminating bool
	paths       []string
}

// delegates makes the graph and publishes it.
func (d *device) delegates(edges ...edge) {
	d.t.Helper()
	var roles []string
	for _, e := range edges {
		if e.paths == nil {
			e.paths = []string{"*"}
		}
		d.r.Delegate(e.from, metadata.DelegatedRole{Name: e.to, Terminating: e.terminating, Paths: e.paths})
		for _, role := range []string{e.to, e.from} {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	d.r.PublishAll(roles...)
}

// visited are the delegated roles that were asked for, in order.
func (d *device) visited() []string {
	names, _ := d.r.Asked()
	var roles []string
	for _, name := range names {
		_, role, _ := strings.Cut(strings.TrimSuffix(name, ".json"), ".")
		if role != "" && !slices.Contains(metadata.TOP_LEVEL_ROLE_NAMES[:], role) {
			roles = append(roles, role)
		}
	}
	return roles
}

func TestOrderInWhichDelegatedRolesAreAsked(t *testing.T) {
	for name, c := range map[string]struct {
		edges []edge
		want  string
	}{
		"one":                                 {[]edge{{from: "targets", to: "A"}}, "A"},
		"two of one level":                    {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}}, "A B"},
		"two levels":                          {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}}, "A B C"},
		"depth first, two levels":             {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C"}, {from: "A", to: "D"}}, "A C D B"},
		"depth first, three levels":           {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C"}, {from: "C", to: "D"}}, "A C D B"},
		"terminating":                         {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", terminating: true}, {from: "A", to: "D"}}, "A C"},
		"terminating, but for what is below":  {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", terminating: true}, {from: "C", to: "D"}}, "A C D"},
		"paths that do not match":             {[]edge{{from: "targets", to: "A", paths: []string{"*.py"}}, {from: "targets", to: "B"}, {from: "A", to: "C"}}, "B"},
		"paths that do not match below":       {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "A", to: "C", paths: []string{"*.py"}}, {from: "C", to: "D"}}, "A B"},
		"a cycle":                             {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "C", to: "D"}, {from: "D", to: "B"}}, "A B C D"},
		"a role delegates to itself":          {[]edge{{from: "targets", to: "A"}, {from: "A", to: "A"}, {from: "A", to: "B"}}, "A B"},
		"two delegate to a third":             {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "A", to: "C"}}, "A C B"},
		"two delegate other paths to a third": {[]edge{{from: "targets", to: "A"}, {from: "targets", to: "B"}, {from: "B", to: "C"}, {from: "A", to: "C", paths: []string{"*.py"}}}, "A B C"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.delegates(c.edges...)
			if err := d.download("missing"); !errors.Is(err, ErrNoTarget) {
				t.Errorf("got %v", err)
			}
			if got := strings.Join(d.visited(), " "); got != c.want {
				t.Errorf("asked %s, want %s", got, c.want)
			}
			if err := d.download("missing"); !errors.Is(err, ErrNoTarget) {
				t.Errorf("the second time: %v", err)
			}
			if got := d.visited(); got != nil {
				t.Errorf("asked %q again", got)
			}
		})
	}
}

func TestTargetIsFoundWhereItsPathIsDelegated(t *testing.T) {
	for target, c := range map[string]struct {
		found   bool
		visited string
	}{
		"targetfile":          {true, ""},
		"README.md":           {true, "A"},
		"releases/x/x_v1":     {true, "B C"},
		"releases/y/y_v1.zip": {true, "B D"},
		"releases/z/z_v1.zip": {false, "B"}, // D lists it, but B does not delegate it
	} {
		t.Run(target, func(t *testing.T) {
			d := newDevice(t)
			d.r.Add("targets", "targetfile", "targetfile content")
			d.delegates(edge{from: "targets", to: "A", paths: []string{"*.doc", "*.md"}}, edge{from: "targets", to: "B", paths: []string{"releases/*/*"}},
				edge{from: "B", to: "C", paths: []string{"releases/x/*"}}, edge{from: "B", to: "D", paths: []string{"releases/y/*.zip"}})
			d.r.Add("A", "README.md", "README.md content")
			d.r.Add("C", "releases/x/x_v1", "releases/x/x_v1 content")
			d.r.Add("D", "releases/y/y_v1.zip", "releases/y/y_v1.zip content")
			d.r.Add("D", "releases/z/z_v1.zip", "releases/z/z_v1.zip content")
			d.r.PublishAll("A", "C", "D")
			err := d.download(target)
			if got := strings.Join(d.visited(), " "); got != c.visited {
				t.Errorf("asked %q, want %q", got, c.visited)
			}
			if !c.found {
				if !errors.Is(err, ErrNoTarget) {
					t.Errorf("got %v", err)
				}
				d.holds()
				return
			}
			d.must(err)
			d.holds(target + " content")
		})
	}
}

func TestPathPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, target string
		want            bool
	}{
		{"*", "a", true}, {"*", "a/b", false}, {"a/*", "a/b", true}, {"a/*", "a/b/c", false}, {"a/*/c", "a/b/c", true}, {"*/*", "a/", true},
		{"a?", "ab", true}, {"a?", "a", false}, {"a?b", "a/b", false}, {"[ab]c", "bc", true}, {"[!ab]c", "bc", false}, {"[!ab]c", "xc", true},
		{"[a-c]", "b", true}, {`a\*`, "ab", false}, {`a\b`, `a\b`, true}, {"*.tgz", "x.tgz", true}, {"", "", true}, {"a", "A", false}, {"[", "a", false},
	} {
		if got := matches(c.pattern, c.target); got != c.want {
			t.Errorf("%q covers %q: %v", c.pattern, c.target, got)
		}
	}
}

func TestPathHashPrefixesAreHexadecimal(t *testing.T) {
	d := newDevice(t)
	sum := sha256.Sum256([]byte("some/file"))
	prefix := hex.EncodeToString(sum[:])[:3]
	not := map[bool]string{true: "0", false: "f"}[prefix[0] != '0']
	d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "other", PathHashPrefixes: []string{not}})
	d.r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "bin", PathHashPrefixes: []string{"nope", prefix}})
	d.r.Add("bin", "some/file", "content")
	d.r.PublishAll("other", "bin", metadata.TARGETS)
	d.must(d.download("some/file"))
	if got := d.visited(); !slices.Equal(got, []string{"bin"}) {
		t.Errorf("asked %q", got)
	}
}

func TestSuccinctRoles(t *testing.T) {
	for _, bits := range []int{1, 5, 8, 9} {
		t.Run(fmt.Sprint(bits), func(t *testing.T) {
			d := newDevice(t)
			names := d.r.DelegateBins(metadata.TARGETS, bits, "bin", trusttest.NewKey())
			roles := d.r.Targets[metadata.TARGETS].Signed.Delegations.SuccinctRoles.GetRolesForTarget("some/file")
			d.r.Add(roles[0].Name, "some/file", "content")
			d.r.PublishAll(append(names, metadata.TARGETS)...)
			d.must(d.download("some/file"))
			d.holds("content")
			if got := d.visited(); !slices.Equal(got, []string{roles[0].Name}) {
				t.Errorf("asked %q, want %q", got, roles[0].Name)
			}
		})
	}
	t.Run("more than there can be", func(t *testing.T) {
		d := newDevice(t)
		d.r.DelegateBins(metadata.TARGETS, 1, "bin", trusttest.NewKey())
		d.r.Targets[metadata.TARGETS].Signed.Delegations.SuccinctRoles.BitLength = 40
		d.r.PublishAll(metadata.TARGETS)
		d.mustFail(d.download("some/file"), "invalid bit_length")
	})
}

func TestSearchIsBounded(t *testing.T) {
	d := newDevice(t)
	last := metadata.TARGETS
	var edges []edge
	for i := range 2 * maxVisited {
		name := fmt.Sprintf("role%d", i)
		edges = append(edges, edge{from: last, to: name})
		last = name
	}
	d.delegates(edges...)
	d.r.Add(last, "file", "content")
	d.r.PublishAll(last)
	if err := d.download("file"); !errors.Is(err, ErrNoTarget) {
		t.Errorf("got %v", err)
	}
	if got := len(d.visited()); got != maxVisited {
		t.Errorf("%d roles were asked, want %d", got, maxVisited)
	}
}

// A role that two delegate to under different keys is the one's word only for what the one delegates. go-tuf's client
// takes it for both, once it has loaded it for the first (TestDefectsOfGoTUF).
func TestRoleIsVerifiedForEachDelegator(t *testing.T) {
	for name, both := range map[string]bool{"signed for both": true, "signed for the first": false} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			diamond(d.r, both)
			if both {
				d.must(d.download("a-file", "b-file"))
				d.holds("for a", "for b")
				return
			}
			d.mustFail(d.download("a-file", "b-file"), "not enough signatures")
			d.holds("for a")
			d.mustFail(d.download("b-file"), "not enough signatures")
			d.must(d.download("a-file"))
		})
	}
}

// diamond lets A and B each delegate their part of the paths to C, which signs for A, and for both if said.
func diamond(r *trusttest.Repo, both bool) {
	r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "A", Paths: []string{"a-*"}})
	r.Delegate(metadata.TARGETS, metadata.DelegatedRole{Name: "B", Paths: []string{"b-*"}})
	r.Delegate("A", metadata.DelegatedRole{Name: "C", Paths: []string{"a-*"}})
	r.Delegate("B", metadata.DelegatedRole{Name: "C", Paths: []string{"b-*"}})
	if !both {
		r.Signers["C"] = r.Signers["C"][:1]
	}
	r.Add("C", "a-file", "for a")
	r.Add("C", "b-file", "for b")
	r.PublishAll("C", "A", "B", metadata.TARGETS)
}

func TestDelegatedRoleThatIsNotValidEndsTheSearch(t *testing.T) {
	for name, c := range map[string]struct {
		bend func(d *device)
		says string
	}{
		"unsigned":            {func(d *device) { d.r.Signers["A"] = nil; d.r.PublishAll("A") }, "not enough signatures"},
		"expired":             {func(d *device) { d.r.Targets["A"].Signed.Expires = start.Add(-day); d.r.PublishAll("A") }, "A metadata expired"},
		"not in the snapshot": {func(d *device) { delete(d.r.Snapshot.Signed.Meta, "A.json"); d.r.PublishAll() }, "does not list A"},
		"of another version": {func(d *device) {
			d.r.Targets["A"].Signed.Version = 7
			d.r.Publish("A")
			d.r.Files["2.A.json"] = d.r.Latest("A")
			d.r.Snapshot.Signed.Meta["A.json"].Version = 2
			d.r.PublishAll()
		}, "version"},
		"not there": {func(d *device) { d.r.Forget("A") }, "1.A.json"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.delegates(edge{from: "targets", to: "A"}, edge{from: "targets", to: "B"})
			d.r.Add("B", "file", "content")
			d.r.PublishAll("B")
			c.bend(d)
			d.mustFail(d.download("file"), c.says)
			d.holds()
			if got := d.visited(); slices.Contains(got, "B") {
				t.Errorf("asked %q", got)
			}
			if _, err := os.Stat(filepath.Join(d.dir, "A.json")); err == nil {
				t.Error("A is trusted")
			}
		})
	}
}

func TestDelegatedRoleExpiresWhileItIsHeld(t *testing.T) {
	d := newDevice(t)
	d.delegates(edge{from: "targets", to: "A"})
	d.r.Add("A", "first", "first")
	d.r.Add("A", "second", "second")
	d.r.Targets["A"].Signed.Expires = start.Add(7 * day)
	d.r.PublishAll("A")
	d.must(d.download("first"))
	d.now = start.Add(18 * day)
	d.mustFail(d.download("second"), "A metadata expired")
	d.holds("first")
	d.r.Targets["A"].Signed.Expires = start.Add(21 * day)
	d.r.PublishAll("A")
	d.must(d.download("second"))
	d.holds("first", "second")
}

func TestUnusualRoleNames(t *testing.T) {
	for role, file := range map[string]string{"?": "%3F", "#": "%23", "/delegated": "%2Fdelegated", "../delegated": "..%2Fdelegated", "a b+c": "a%20b%2Bc",
		"..": "..", ".": ".", "%2e": "%252e", "röle": "r%C3%B6le", "marks": "marks", "root.copy": "root.copy"} {
		t.Run(role, func(t *testing.T) {
			d := newDevice(t)
			d.delegates(edge{from: "targets", to: role})
			d.r.Add(role, "file", "content")
			d.r.PublishAll(role)
			d.must(d.download("file"))
			if names, _ := d.r.Asked(); names[len(names)-1] != "2."+file+".json" {
				t.Errorf("asked for %q", names)
			}
			if v := versionIn(t, filepath.Join(d.dir, file+".json")); v != 2 {
				t.Errorf("version %d is trusted", v)
			}
			d.must(d.download("file"))
			d.asked("2.root.json", "timestamp.json")
		})
	}
	for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
		t.Run(role+" is the root's to name", func(t *testing.T) {
			d := newDevice(t)
			d.delegates(edge{from: "targets", to: "A"})
			d.r.Targets["A"].Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{},
				Roles: []metadata.DelegatedRole{{Name: role, KeyIDs: []string{}, Threshold: 1, Paths: []string{"*"}}}}
			d.r.PublishAll("A")
			err := d.download("file")
			if role == metadata.TARGETS {
				if !errors.Is(err, ErrNoTarget) { // was asked before
					t.Errorf("got %v", err)
				}
				return
			}
			d.mustFail(err, "only the root may name")
		})
	}
}
