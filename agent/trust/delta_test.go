package trust

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"bakehouse/schema/delta"
)

// deltas is a server that answers with the difference to what the host holds.
type deltas struct {
	*repo
	bend  func(b []byte) ([]byte, error)
	bytes map[string]int
}

func (d *deltas) MetadataAgainst(_ context.Context, name string, heldVersion int64, held []byte, limit int64) ([]byte, error) {
	full, ok := d.Files[name]
	if !ok {
		return nil, errors.New("not there")
	}
	want := d.Files[fmt.Sprint(heldVersion)+name[1:]]
	if !slices.Equal(held, want) {
		return nil, fmt.Errorf("held version %d of %s has other bytes", heldVersion, name)
	}
	b, err := delta.Deflate(full, held)
	if err != nil {
		return nil, err
	}
	d.bytes[name] = len(b)
	if b, err = d.bend(b); err != nil {
		return nil, err
	}
	return delta.Inflate(b, held, limit)
}

func TestMetadataTravelAsDifference(t *testing.T) {
	for name, c := range map[string]struct {
		bend  func([]byte) ([]byte, error)
		whole bool // fetched whole after all
	}{
		"as a difference":              {func(b []byte) ([]byte, error) { return b, nil }, false},
		"a server that knows no such":  {func([]byte) ([]byte, error) { return nil, errors.New("415") }, true},
		"a difference that is altered": {func(b []byte) ([]byte, error) { b[len(b)/2] ^= 1; return b, nil }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRepo(t), t.TempDir()
			r.mustUpdate(dir, "web01", "web01 first")
			r.assign("web01", "web01 second", 2)
			r.Release(r.Bin("web01"))
			c1 := r.open(dir)
			src := &deltas{r, c.bend, map[string]int{}}
			r.asked()
			if err := c1.Refresh(t.Context(), src, nil); err != nil {
				t.Fatal(err)
			}
			a, err := c1.Assignment(t.Context(), src, "web01")
			if err != nil || a.Release != 2 {
				t.Fatalf("%+v, %v", a, err)
			}
			asked := r.asked()
			for _, role := range []string{"snapshot", "targets", r.Bin("web01")} {
				file := "2." + role + ".json"
				if got := slices.Contains(asked, file); got != c.whole {
					t.Errorf("%s fetched whole: %t, want %t", file, got, c.whole)
				}
				if n := src.bytes[file]; n == 0 || n > len(r.Files[file])*2/3 {
					t.Errorf("%s: %d of %d bytes", file, n, len(r.Files[file]))
				}
			}
		})
	}
}
