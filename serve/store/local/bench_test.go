package local_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"bakehouse/schema"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// BenchmarkCreate stores objects of the size of a packed manifest. The rival is os.WriteFile, which neither syncs nor
// minds what is there: the ratio is the price of durability.
func BenchmarkCreate(b *testing.B) {
	object := bytes.Repeat([]byte("manifest"), 128)
	var n atomic.Uint64
	next := func() schema.Digest { return schema.DigestOf(binary.BigEndian.AppendUint64(nil, n.Add(1))) }
	open := func(b *testing.B) store.Store {
		s, err := stores.Open(b.Context(), filepath.Join(b.TempDir(), "store"))
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	var rival float64
	perOp := func(b *testing.B) float64 { return float64(b.Elapsed().Nanoseconds()) / float64(b.N) }
	b.Run("os.WriteFile", func(b *testing.B) {
		dir := b.TempDir()
		for b.Loop() {
			if err := os.WriteFile(filepath.Join(dir, next().Hex()), object, 0o600); err != nil {
				b.Fatal(err)
			}
		}
		rival = perOp(b)
	})
	ratio := func(b *testing.B) {
		if rival > 0 {
			b.ReportMetric(perOp(b)/rival, "x/os.WriteFile")
		}
	}
	b.Run("one after another", func(b *testing.B) {
		s := open(b)
		for b.Loop() {
			if err := store.CreateBytes(b.Context(), s, schema.ManifestKey(next()), object); err != nil {
				b.Fatal(err)
			}
		}
		ratio(b)
	})
	b.Run("16 at a time", func(b *testing.B) {
		s := open(b)
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := store.CreateBytes(context.Background(), s, schema.ManifestKey(next()), object); err != nil {
					b.Error(err)
				}
			}
		})
		ratio(b)
	})
	b.Run("of what is there", func(b *testing.B) {
		s := open(b)
		key := schema.ManifestKey(next())
		if err := store.CreateBytes(b.Context(), s, key, object); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			_ = store.CreateBytes(b.Context(), s, key, object) // fs.ErrExist
		}
		ratio(b)
	})
}
