package publish

import (
	"maps"
	"strings"
	"testing"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/schema"
)

// A bin that was verified before need not be there to be known: the snapshot's tree names it.
func TestAPassWithACacheReadsNoBinAgain(t *testing.T) {
	f, st := newFleet(t), memStore{}
	f.mustPublish(st, next(start, want("web01", "a"), want("db01", "b")))
	memory := cache.InMemory()
	before, err := Recover(t.Context(), st, f.Fleet, start, Recovery{}, memory)
	if err != nil {
		t.Fatal(err)
	}
	without := withoutBins(st)
	if len(without) != len(st)-testBins {
		t.Fatalf("%d objects of %d are left", len(without), len(st))
	}
	after, err := Recover(t.Context(), without, f.Fleet, start, Recovery{}, memory)
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(after.Assignments(), before.Assignments()) || len(after.Assignments()) != 2 {
		t.Errorf("remembered is %v, published %v", after.Assignments(), before.Assignments())
	}
	if _, err := Read(t.Context(), without, f.Fleet, start); err == nil {
		t.Error("bins that are gone are known without a memory")
	}
}

// withoutBins is st without the files of any bin.
func withoutBins(st memStore) memStore {
	left := maps.Clone(st)
	maps.DeleteFunc(left, func(key string, _ []byte) bool {
		return strings.HasPrefix(key, schema.MetadataDir) && strings.Contains(key, ".bin-")
	})
	return left
}

func TestAPassWithACacheReadsNoBinThatThePassBeforeWrote(t *testing.T) {
	f, st, memory := newFleet(t), memStore{}, cache.InMemory()
	for i, pkg := range []string{"a", "b"} { // all bins are new, then one
		n := next(start, want("web01", pkg), want("db01", "b"))
		before, err := Recover(t.Context(), withoutBins(st), f.Fleet, start, Recovery{}, memory)
		if err != nil {
			t.Fatalf("pass %d: %v", i, err)
		}
		if _, err := before.Publish(t.Context(), st, f.keys, n.Wanted); err != nil {
			t.Fatal(err)
		}
	}
	remembered, err := Recover(t.Context(), withoutBins(st), f.Fleet, start, Recovery{}, memory)
	if err != nil {
		t.Fatal(err)
	}
	read, err := Read(t.Context(), st, f.Fleet, start)
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(remembered.Assignments(), read.Assignments()) || remembered.Assignments()["web01"].Release != 2 {
		t.Errorf("remembered is %v, published %v", remembered.Assignments(), read.Assignments())
	}
}
