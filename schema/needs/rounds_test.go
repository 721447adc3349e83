package needs_test

import (
	"fmt"
	"testing"

	"bakehouse/schema/needs"
)

// named is a test that only has a name.
type named struct {
	recorder
	name string
}

func (n named) Name() string { return n.name }

func TestOnlyTheRaceDetectorMakesDoWithSomeOfTheCasesThatAreAlike(t *testing.T) {
	const all = 300
	ran := 0
	for n := range all {
		one := named{name: fmt.Sprintf("TestAttacks/%d", n)}
		how := outcome(func(testing.TB) { needs.Alike(one) })
		if how != outcome(func(testing.TB) { needs.Alike(one) }) {
			t.Errorf("%s runs now and then", one.name)
		}
		if how == "runs" {
			ran++
		}
	}
	least, most := all, all
	if needs.Race {
		least, most = all/5, all/2
	}
	if ran < least || ran > most {
		t.Errorf("%d of %d run, want %d to %d", ran, all, least, most)
	}
	if how := outcome(func(testing.TB) { needs.Alike(named{name: "TestNoCase"}) }); how != "runs" {
		t.Errorf("what is no case: %s", how)
	}
	if how := outcome(needs.Alone); (how == "runs") == needs.Race {
		t.Errorf("%s, under the race detector: %v", how, needs.Race)
	}
}
