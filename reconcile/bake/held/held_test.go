package held

import (
	"bytes"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"
)

func TestPrivateCopiesThatDoNotFitIntoMemoryAreInFilesWithoutAName(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	rapid.Check(t, func(t *rapid.T) {
		var of atomic.Int64
		spare := rapid.Int64Range(0, 3*pageSize).Draw(t, "spare")
		of.Store(spare)
		copies, wants := make([]*Bytes, 3), make([][]byte, 3)
		for i := range copies {
			copies[i] = New(&of)
		}
		for range rapid.IntRange(0, 12).Draw(t, "writes") {
			i := rapid.IntRange(0, 2).Draw(t, "copy")
			b := bytes.Repeat([]byte{byte('a' + i), byte(len(wants[i]))},
				rapid.IntRange(0, pageSize*2/3).Draw(t, "length"))
			if n, err := copies[i].Write(b); n != len(b) || err != nil {
				t.Fatal(n, err)
			}
			wants[i] = append(wants[i], b...)
		}
		held := int64(0)
		for i, c := range copies {
			if c.file == nil {
				held += c.size
			}
			got, err := io.ReadAll(c.Reader())
			var copied bytes.Buffer
			if err := c.CopyTo(t.Context(), &copied); err != nil {
				t.Fatal(err)
			}
			if err != nil || !bytes.Equal(got, wants[i]) || !bytes.Equal(copied.Bytes(), wants[i]) ||
				c.size != int64(len(got)) {
				t.Fatalf("%d and %d of %d bytes, %v", len(got), copied.Len(), len(wants[i]), err)
			}
		}
		if left := of.Load(); left != spare-held || left < 0 {
			t.Fatalf("%d bytes to spare after %d, with %d in memory", left, spare, held)
		}
		if e, err := os.ReadDir(dir); err != nil || len(e) != 0 {
			t.Fatal(e, err)
		}
		for _, c := range copies {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if left := of.Load(); left != spare {
			t.Fatalf("%d of %d bytes to spare in the end", left, spare)
		}
	})
}
