package inventorytest

import (
	"errors"
	"sync"
	"testing"

	"bakehouse/serve/inventory"
)

func aVerdictIsChangedByOneServerAtATimeAndSurvivesARestart(t *testing.T, place Place) {
	at := place(t)
	one, other := open(t, at), open(t, at)
	v := inventory.Verdict{Name: "release/7", Version: 1, Body: []byte(`{"a":1}`)}
	if err := one.Decide(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if err := other.Decide(t.Context(), v); !errors.Is(err, inventory.ErrVerdictMoved) {
		t.Errorf("made twice: %v", err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			db := []*inventory.DB{one, other}[i%2]
			errs[i] = db.Decide(t.Context(), inventory.Verdict{Name: "release/7", Version: 2,
				Body: []byte{byte('0' + i)}})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Errorf("%d and %d changed the same version", winner, i)
		case err == nil:
			winner = i
		case !errors.Is(err, inventory.ErrVerdictMoved):
			t.Error(err)
		}
	}
	if err := one.Decide(t.Context(), inventory.Verdict{Name: "pause", Version: 1, Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	for _, db := range []*inventory.DB{one, other} {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	db := open(t, at)
	defer db.Close()
	list, err := db.Verdicts(t.Context())
	if err != nil || len(list) != 2 || list[0].Name != "pause" || list[1].Version != 2 || winner < 0 ||
		string(list[1].Body) != string(rune('0'+winner)) {
		t.Errorf("%+v, %v; %d won", list, err, winner)
	}
	if err := db.Undecide(t.Context(), "release/7", "release/8"); err != nil {
		t.Fatal(err)
	}
	if list, err := db.Verdicts(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}
