package cache

import (
	"io"
	"testing"
)

func TestTheCacheKeepsToItsBoundAndComputesOnce(t *testing.T) {
	c := New[int, int](100)
	loads := 0
	get := func(k int, size int64, err error) (int, error) {
		return c.Get(k, func() (int, int64, error) { loads++; return k, size, err })
	}
	for k := range 50 {
		for range 2 {
			if v, err := get(k, 10, nil); v != k || err != nil {
				t.Fatal(v, err)
			}
		}
	}
	if loads != 50 || c.size != 100 || len(c.slots) != 10 || c.order.Len() != 10 {
		t.Errorf("%d loads, size %d, %d slots", loads, c.size, len(c.slots))
	}
	for range 2 { // an error is not kept
		if _, err := get(1000, 10, io.EOF); err == nil {
			t.Error("no error")
		}
	}
	if loads != 52 || len(c.slots) != 10 {
		t.Errorf("%d loads, %d slots", loads, len(c.slots))
	}
	if _, err := get(2000, 1000, nil); err != nil || c.size != 0 || len(c.slots) != 0 {
		t.Errorf("a value beyond the bound is kept: size %d", c.size)
	}
}
