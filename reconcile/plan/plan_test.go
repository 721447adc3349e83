package plan

import (
	"fmt"
	"maps"
	"testing"

	"bakehouse/schema"

	"pgregory.net/rapid"
)

func pkg(n int) Package {
	return Package{Recipe: schema.RecipeID(fmt.Sprintf("%016x", n)), Platform: schema.Platform{OS: "linux", Arch: "amd64"}, Format: schema.Deb, Bake: 1}
}

func published(n int) Published {
	return Published{Desired: Desired{Package: pkg(n), Ring: "all", Selected: true},
		Current: schema.Candidate{SHA256: schema.DigestOf(fmt.Append(nil, n)), Recipe: pkg(n).Recipe}}
}

func TestEachKindOfChangeIsTold(t *testing.T) {
	was := map[string]Published{"same": published(1), "moved": published(1), "ring": published(1), "gone": published(2)}
	ring := published(1).Desired
	ring.Ring = "late"
	p := Diff(was, map[string]Desired{
		"same": published(1).Desired, "moved": published(3).Desired, "ring": ring, "new": published(3).Desired,
	})
	got := map[string]Kind{}
	for _, c := range p.Changes {
		got[c.Host] = c.Kind
	}
	want := map[string]Kind{"moved": Repackage, "ring": Attribute, "gone": Removed, "new": Added}
	if !maps.Equal(got, want) || p.Unchanged != 1 {
		t.Errorf("changes %v, unchanged %d", got, p.Unchanged)
	}
	if len(p.Bake) != 1 || p.Bake[0] != pkg(3) {
		t.Errorf("to bake: %v", p.Bake)
	}
	if p.Reuse[pkg(1)].SHA256 != published(1).Current.SHA256 || len(p.Reuse) != 1 {
		t.Errorf("reused: %v", p.Reuse)
	}
}

func TestAHostThatTakesAnotherHostsPackageBakesNothing(t *testing.T) {
	p := Diff(map[string]Published{"a": published(1)}, map[string]Desired{"a": published(1).Desired, "b": published(1).Desired})
	if len(p.Bake) != 0 || p.Count(Added) != 1 {
		t.Errorf("%+v", p)
	}
}

func TestEveryHostIsCountedOnceAndEveryDesiredPackageComesFromSomewhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.MapOf(rapid.StringMatching(`[a-e]`), rapid.IntRange(0, 4))
		was, want := map[string]Published{}, map[string]Desired{}
		for h, n := range hosts.Draw(t, "published") {
			was[h] = published(n)
		}
		for h, n := range hosts.Draw(t, "desired") {
			want[h] = published(n).Desired
		}
		p := Diff(was, want)
		union := map[string]bool{}
		for h := range was {
			union[h] = true
		}
		for h := range want {
			union[h] = true
		}
		if len(p.Changes)+p.Unchanged != len(union) {
			t.Fatalf("%d changes and %d unchanged of %d hosts", len(p.Changes), p.Unchanged, len(union))
		}
		baked := map[Package]bool{}
		for _, b := range p.Bake {
			baked[b] = true
		}
		for h, d := range want {
			if _, reused := p.Reuse[d.Package]; reused == baked[d.Package] {
				t.Fatalf("%s: package reused %t and baked %t", h, reused, baked[d.Package])
			}
		}
	})
}
