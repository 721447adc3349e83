package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"bakehouse/serve/store"
)

// What gc asks of a back end.

func dates(t *testing.T, location string) {
	s := open(t, location)
	now := func() time.Time {
		t.Helper()
		at, err := s.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := now()
	create(t, s, key, "x")
	after := now()
	// A back end may count whole seconds.
	if at := list(t, s, key)[0].Time; at.Before(before.Truncate(time.Second)) || at.After(after.Add(time.Second)) {
		t.Errorf("created between %s and %s, it is dated %s", before, after, at)
	}
}

func deletedAtOnce(t *testing.T, location string) {
	s := open(t, location)
	for _, key := range []string{"segments/ab/1", "segments/ab/2", "segments/cd/3", "targets/ab/4"} {
		create(t, s, key, "x")
	}
	gone := []string{"segments/ab/1", "segments/none/5", "segments/cd/3", "segments/ab/1"}
	if err := s.DeleteBatch(t.Context(), gone); err != nil {
		t.Errorf("objects that are not there are passed over: %v", err)
	}
	left := []store.Entry{{Key: "segments/ab/2", Size: 1}, {Key: "targets/ab/4", Size: 1}}
	if all := undated(list(t, s, "")); !slices.Equal(all, left) {
		t.Errorf("left: %v", all)
	}
	if err := s.DeleteBatch(t.Context(), []string{"../outside"}); err == nil {
		t.Error("a malformed key was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.DeleteBatch(ctx, []string{"segments/ab/2"}); err == nil || content(t, s, "segments/ab/2") != "x" {
		t.Errorf("cancelled: %v", err)
	}
}
