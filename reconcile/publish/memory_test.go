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
	without := maps.Clone(st)
	maps.DeleteFunc(without, func(key string, _ []byte) bool {
		return strings.HasPrefix(key, schema.MetadataDir) && strings.Contains(key, ".bin-")
	})
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
