package maintain_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"
	"sync"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

func TestACopyIsTheStoreAndItsLeasesStayBehind(t *testing.T) {
	from, to := twoReleases(), memory{}
	want := maps.Clone(from)
	from[schema.LockKey(7)] = []byte("{}")
	report, err := maintain.Copy(t.Context(), from, to)
	if err != nil || report.Head != 2 || report.Copied.Objects != len(want) || !maps.EqualFunc(to, want, bytes.Equal) {
		t.Errorf("%+v, %v, %d objects", report, err, len(to))
	}
	report, err = maintain.Copy(t.Context(), from, to)
	if err != nil || report.Copied.Objects != 0 || report.Present.Objects != len(want) {
		t.Errorf("again: %+v, %v", report, err)
	}
}

// cutAt is a store whose connection is lost after some objects.
type cutAt struct {
	memory
	mu   sync.Mutex
	left int
}

var errCut = errors.New("connection lost")

func (c *cutAt) Create(ctx context.Context, key string, r io.Reader) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left < 0 {
		return errCut
	}
	return c.memory.Create(ctx, key, r)
}

func TestACopyThatIsCutAnywhereIsNeverTornAndGoesOn(t *testing.T) {
	from := twoReleases()
	for n := range len(from) {
		to := memory{}
		if _, err := maintain.Copy(t.Context(), from, &cutAt{memory: to, left: n}); !errors.Is(err, errCut) {
			t.Fatalf("after %d objects: %v", n, err)
		}
		if errs, _ := findings(t, to); len(errs) > 0 {
			t.Errorf("after %d objects: %q", n, errs)
		}
		if _, err := maintain.Copy(t.Context(), from, to); err != nil || !maps.EqualFunc(from, to, bytes.Equal) {
			t.Errorf("after %d objects it does not go on: %v", n, err)
		}
	}
}

func TestAnAlteredObjectIsNotCopied(t *testing.T) {
	from, to := twoReleases(), memory{}
	key := of2(schema.SegmentDir, 0)
	from[key] = append([]byte("x"), from[key][1:]...)
	_, err := maintain.Copy(t.Context(), from, to)
	if !fault.IsRefusal(err) || !strings.Contains(err.Error(), key) || to[key] != nil {
		t.Errorf("%v, created: %v", err, to[key] != nil)
	}
	if head, err := store.Head(t.Context(), to); head != 0 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
}

func TestStoresOfDifferentHistoriesAreNotMixed(t *testing.T) {
	for name, alter := range map[string]func(from, to memory){
		"another timestamp of the same number": func(_, to memory) { to[schema.TimestampKey(2)] = []byte("{}") },
		"the copy is ahead":                    func(_, to memory) { to[schema.TimestampKey(3)] = []byte("{}") },
		"an object of another size":            func(_, to memory) { to["metadata/2.bin-0.json"] = []byte("{}") },
		"nothing to copy":                      func(from, _ memory) { clear(from) },
	} {
		from, to := twoReleases(), memory{}
		alter(from, to)
		had := len(to)
		if _, err := maintain.Copy(t.Context(), from, to); err == nil || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if head, err := store.Head(t.Context(), to); err != nil || had == 0 && head != 0 {
			t.Errorf("%s: head %d, %v", name, head, err)
		}
	}
}
