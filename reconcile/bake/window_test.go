package bake

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestTheLastWindowIsTheEndOfWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l lastWindow
		var all []byte
		for range rapid.IntRange(0, 8).Draw(t, "writes") {
			b := text(t, rapid.SampledFrom([]int{10, window / 2, window + 10}).Draw(t, "most"))
			l.Write(b)
			all = append(all, b...)
		}
		if !bytes.Equal(l, all[max(0, len(all)-window):]) {
			t.Fatalf("%d bytes", len(l))
		}
	})
}
