package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
)

// randomRelease is one of those that a fleet's history has: hosts come and go, packages change and come back, and so do
// settings.
func randomRelease(random *rand.Rand, now time.Time) release {
	var as []schema.Assignment
	for i := range 12 {
		if random.IntN(4) > 0 {
			w := want(fmt.Sprintf("web%02d", i), fmt.Sprint("package ", random.IntN(3)))
			w.Selected = random.IntN(5) > 0
			as = append(as, w)
		}
	}
	random.Shuffle(len(as), func(i, j int) { as[i], as[j] = as[j], as[i] })
	n := next(now, as...)
	n.Policy.Enabled = random.IntN(3) > 0
	n.Release.Commit = fmt.Sprint("commit ", random.Uint64())
	if random.IntN(4) == 0 {
		n.Access = nil
	}
	return n
}

// Whoever has the state before, what the commit wants and the issue time gets what was published, byte for byte. The
// policy says when that was.
func TestWhatIsPublishedFollowsFromTheStateBeforeTheCommitAndTheTime(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	f, st := newFleet(t), memStore{}
	compared := 0
	for i := range 20 {
		n := randomRelease(random, start.Add(time.Duration(i)*time.Hour+time.Duration(random.IntN(1e9))))
		if i == 12 {
			f.rotate("targets") // nothing that the old key signed is carried forward
		}
		before, err := Read(t.Context(), st, f.Fleet, n.Now)
		if err != nil {
			t.Fatal(err)
		}
		sum := f.mustPublish(st, n)
		after, err := Read(t.Context(), st, f.Fleet, n.Now)
		if err != nil {
			t.Fatal(err)
		}
		d, err := NewDraft(before.Previous(), n.Wanted, after.Policy().Issued)
		if err != nil {
			t.Fatal(err)
		}
		if d.Number != after.Number() || !slices.Equal(d.Hosts, sum.Hosts) || !slices.Equal(d.Removed, sum.Removed) {
			t.Errorf("release %d: drafted as %d for %q, published as %d for %q", i, d.Number, d.Hosts, after.Number(),
				sum.Hosts)
		}
		if got := after.targets.Signed.Targets; !sameJSON(d.TopTargets(), got) {
			t.Errorf("release %d: targets are %v, drafted as %v", i, got, d.TopTargets())
		}
		for name, b := range d.Targets {
			if string(st[schema.TargetKey(schema.DigestOf(b))]) != string(b) {
				t.Errorf("release %d: %s was published with other bytes than %s", i, name, b)
			}
		}
		for name, b := range after.bins {
			compared++
			var file struct{ Signed json.RawMessage }
			err := json.Unmarshal(st[schema.MetadataKey(name, b.Version)], &file)
			if err != nil {
				t.Fatal(err)
			}
			if bin, err := d.Signed(name, b.Version, b.Expires); err != nil || !bytes.Equal(bin, file.Signed) {
				t.Errorf("release %d: %s is %s, drafted as %s; %v", i, name, file.Signed, bin, err)
			}
		}
	}
	if compared != 20*testBins {
		t.Errorf("%d bins compared", compared)
	}
}

func TestADraftChangesNothingThatItIsGivenAndIsTheSameAgain(t *testing.T) {
	f, st := newFleet(t), memStore{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5 {
		f.mustPublish(st, randomRelease(random, start.Add(time.Duration(i)*time.Hour)))
	}
	for name, r := range map[string]Recovery{"after a release": {}, "after a restore": {Seen: 70}} {
		s, err := Recover(t.Context(), st, f.Fleet, start.Add(6*time.Hour), r, nil)
		if err != nil {
			t.Fatal(err)
		}
		encode := func(v ...any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		prev, n := s.Previous(), randomRelease(random, s.now)
		whole := func() (*Draft, string) {
			d, err := NewDraft(prev, n.Wanted, n.Now)
			if err != nil {
				t.Fatal(err)
			}
			all := []any{d}
			for _, role := range d.Delegations.SuccinctRoles.GetRoles() {
				bin, err := d.Signed(role, 1, start)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, string(bin))
			}
			return d, encode(all...)
		}
		was := encode(prev, n)
		first, text := whole()
		if again, same := whole(); same != text || !reflect.DeepEqual(again, first) {
			t.Errorf("%s: another draft:\n%s\n%s", name, text, same)
		}
		if is := encode(prev, n); is != was {
			t.Errorf("%s: what was given has changed:\n%s\n%s", name, was, is)
		}
		slices.Reverse(n.Assignments)
		if _, reversed := whole(); reversed != text {
			t.Errorf("%s: the order of hosts counts:\n%s\n%s", name, text, reversed)
		}
	}
}

// The file that drafts reads no clock and has no way to files, stores, keys or chance.
func TestDraftsAreMadeWithoutAnythingFromOutside(t *testing.T) {
	allowed := []string{"bytes", "encoding/json", "fmt", "slices", "strings", "time",
		"github.com/theupdateframework/go-tuf/v2/metadata", "bakehouse/agent/trust/bins", "bakehouse/schema",
		"bakehouse/schema/fault"}
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep", "Local"}
	file, err := parser.ParseFile(token.NewFileSet(), "draft.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range file.Imports {
		if path, err := strconv.Unquote(i.Path.Value); err != nil || !slices.Contains(allowed, path) {
			t.Errorf("it imports %s", i.Path.Value)
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "time" && slices.Contains(clock, s.Sel.Name) {
				t.Errorf("it uses time.%s", s.Sel.Name)
			}
		}
		return true
	})
}

func TestADraftAfterAnEmptyStoreIsTheFirstRelease(t *testing.T) {
	s, err := Read(t.Context(), memStore{}, newFleet(t).Fleet, start)
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDraft(s.Previous(), next(start, want("web01", "a")).Wanted, start)
	if err != nil || !d.Changed || d.Number != 1 || !slices.Equal(d.Hosts, []string{"web01"}) || len(d.Dirty) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	names := []string{schema.AccessTarget, schema.AboutTarget, schema.PolicyTarget, schema.ReleaseTarget}
	slices.Sort(names)
	if got := slices.Sorted(maps.Keys(d.Targets)); !slices.Equal(got, names) {
		t.Errorf("targets %q", got)
	}
	bin, err := d.Signed(d.Dirty[0], 1, start)
	if err != nil || !bytes.Contains(bin, []byte(`{"`+schema.PackageTarget("web01")+`":`)) {
		t.Errorf("bin %s, %v", bin, err)
	}
}

// Else a host that waits for a ring's delay would be given what a commit has taken back, if that waits less long.
func TestARevertTakesAwayWhatCameAfterIt(t *testing.T) {
	for _, test := range []struct{ name, given, want string }{
		{"nothing comes back", "a b c", "c b a"},
		{"more than is kept", "a b c d", "d c b"},
		{"the package before comes back", "a b a", "a"},
		{"the one before that", "a b c a", "a"},
		{"only what came after it goes", "a b c b", "b a"},
		{"and forth again", "a b a b", "b a"},
		{"what was dropped before comes back as new", "a b a c b", "b c a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var prev *schema.Assignment
			for i, pkg := range strings.Fields(test.given) {
				a, changed := follow(prev, want("web01", pkg), int64(i+1), start.Add(time.Duration(i)*time.Hour))
				if err := a.Validate(); err != nil || !changed {
					t.Fatalf("%s: changed %v, %v", pkg, changed, err)
				}
				prev = &a
			}
			wanted := strings.Fields(test.want)
			got := prev.Candidates()
			for i, c := range got {
				if len(got) != len(wanted) || c.SHA256 != schema.DigestOf([]byte(wanted[i])) {
					t.Fatalf("candidates %v, want %s", got, test.want)
				}
			}
		})
	}
}

// A rename gives a host nothing new: not its package, and not a ring's delay from the start.
func TestARenamedHostGoesOnFromWhatItWasGiven(t *testing.T) {
	f, st := newFleet(t), memStore{}
	for i, pkg := range []string{"a", "b"} {
		f.mustPublish(st, next(start.Add(time.Duration(i)*time.Hour), want("web01", pkg)))
	}
	read := func(host string) *schema.Assignment {
		t.Helper()
		s, err := Read(t.Context(), st, f.Fleet, start.Add(2*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(s.Assignments()); n != 1 || s.Assignments()[host] == nil {
			t.Fatalf("%d hosts, and %s is %v", n, host, s.Assignments()[host])
		}
		return s.Assignments()[host]
	}
	before := *read("web01")
	renamed := want("web09", "b")
	renamed.Was = []string{"web05", "web01"}
	f.mustPublish(st, next(start.Add(2*time.Hour), renamed))
	before.Host, before.Was = "web09", renamed.Was
	if got := read("web09"); !got.Equal(&before) || len(got.Older) != 1 {
		t.Errorf("it is given %+v, want %+v", got, before)
	}
	// Once all have heard of it, the commit may say no more of it; nothing else changes then.
	renamed.Was = nil
	f.mustPublish(st, next(start.Add(3*time.Hour), renamed))
	before.Was = nil
	if got := read("web09"); !got.Equal(&before) {
		t.Errorf("it is given %+v, want %+v", got, before)
	}
}

// What servers show of a release counts what it changes, and stays with the release until the next.
func TestAboutCountsWhatTheReleaseChanges(t *testing.T) {
	f, st := newFleet(t), memStore{}
	about := func(n release) schema.About {
		t.Helper()
		f.mustPublish(st, n)
		s, err := Read(t.Context(), st, f.Fleet, n.Now)
		if err != nil || s.about == nil {
			t.Fatal(s, err)
		}
		return *s.about
	}
	hosts := func(hour int, subject string, as ...schema.Assignment) release {
		n := next(start.Add(time.Duration(hour)*time.Hour), as...)
		n.About = &schema.About{Schema: schema.AboutSchema, Subject: subject, Plan: schema.AboutPlan{Hosts: 99}}
		return n
	}
	a, b, c, d := want("a", "1"), want("b", "1"), want("c", "1"), want("d", "1")
	first := about(hosts(0, "first", a, b, c))
	if want := (schema.AboutPlan{Hosts: 3, Added: 3}); first.Plan != want || first.Subject != "first" {
		t.Errorf("%+v, want %+v", first, want)
	}
	if again := about(hosts(1, "a commit that changes nothing", a, b, c)); !sameJSON(again, first) {
		t.Errorf("%+v, want %+v", again, first)
	}
	b.Ring = "other"
	second := about(hosts(2, "second", want("a", "2"), b, d))
	if want := (schema.AboutPlan{Hosts: 3, Added: 1, Removed: 1, Package: 1, Attributes: 1}); second.Plan != want {
		t.Errorf("%+v, want %+v", second.Plan, want)
	}
}

// The other way to the same bytes: a tool of another bake version makes other bytes of a recipe that comes back.
func TestARecipeThatComesBackInOtherBytesIsARevert(t *testing.T) {
	first := want("web01", "a")
	a, _ := follow(nil, first, 1, start)
	b, _ := follow(&a, want("web01", "b"), 2, start)
	again := first
	again.SHA256 = schema.DigestOf([]byte("a, baked by another version"))
	c, _ := follow(&b, again, 3, start)
	if got := c.Candidates(); len(got) != 2 || got[1].Release != 1 {
		t.Errorf("candidates %v", got)
	}
}
