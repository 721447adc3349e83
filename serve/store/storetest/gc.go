package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"bakehouse/serve/store"
)

// What gc asks of a back end.

func dates(t *testing.T, location string) {
	s := open(t, location)
	c, ok := s.(interface{ Now() (time.Time, error) })
	if !ok {
		t.Skip("this back end has no clock: gc takes the newest object's time for now")
	}
	now := func() time.Time {
		t.Helper()
		at, err := c.Now()
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	before := now()
	create(t, s, key, "x")
	after := now()
	if at := list(t, s, key)[0].Time; at.Before(before) || at.After(after) {
		t.Errorf("created between %s and %s, it is dated %s", before, after, at)
	}
}

func deletedAtOnce(t *testing.T, location string) {
	s := open(t, location)
	d, ok := s.(interface {
		DeleteAll(context.Context, []string) error
	})
	if !ok {
		t.Skip("this back end deletes one by one")
	}
	for _, key := range []string{"segments/ab/1", "segments/ab/2", "segments/cd/3", "targets/ab/4"} {
		create(t, s, key, "x")
	}
	if err := d.DeleteAll(t.Context(), []string{"segments/ab/1", "segments/none/5", "segments/cd/3", "segments/ab/1"}); err != nil {
		t.Errorf("objects that are not there are passed over: %v", err)
	}
	if all := undated(list(t, s, "")); !slices.Equal(all, []store.Entry{{Key: "segments/ab/2", Size: 1}, {Key: "targets/ab/4", Size: 1}}) {
		t.Errorf("left: %v", all)
	}
	if err := d.DeleteAll(t.Context(), []string{"../outside"}); err == nil {
		t.Error("a malformed key was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.DeleteAll(ctx, []string{"segments/ab/2"}); !errors.Is(err, context.Canceled) || content(t, s, "segments/ab/2") != "x" {
		t.Errorf("cancelled: %v", err)
	}
}
