package bake_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
)

// fleetOf returns recipes of a 10 MB agent whose settings differ.
func fleetOf(n int) ([]*rules.Recipe, repo) {
	src := repo{}
	agent := src.file("/usr/bin/node_exporter", 0o755, noise(3, 10<<20))
	rs := make([]*rules.Recipe, n)
	other := repo{}
	for i := range rs {
		rs[i] = example(other, fmt.Sprintf("%016x", i), fmt.Sprintf(":%d", i))
		rs[i].Outputs[0].Files[1] = agent
	}
	for k, b := range other {
		if src[k] == nil {
			src[k] = b
		}
	}
	return rs, src
}

// BenchmarkPackage is further packages of one 10 MB agent, whole-package SHA-256 included. The rival is dpkg-deb on the same
// files in the same run.
func BenchmarkPackage(b *testing.B) {
	rs, src := fleetOf(1000)
	perOp := map[schema.Format]time.Duration{}
	for _, format := range []schema.Format{schema.Deb, schema.Tgz} {
		b.Run(string(format), func(b *testing.B) {
			st := newMemory()
			baker := bake.New(st, src)
			defer baker.Close()
			anchor := schema.DigestOf(anchor)
			if _, err := baker.Bake(b.Context(), rs[0], format, anchor); err != nil {
				b.Fatal(err)
			}
			var size, stored int64
			n := 0
			for b.Loop() {
				n++
				out, err := baker.Bake(b.Context(), rs[n%len(rs)], format, anchor)
				if err != nil {
					b.Fatal(err)
				}
				size, stored = out.Manifest.Size, int64(len(out.Packed))
			}
			perOp[format] = b.Elapsed() / time.Duration(n)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "packages/s")
			b.ReportMetric(float64(size), "B/package")
			b.ReportMetric(float64(stored), "stored-B/package")
		})
	}
	b.Run("dpkg-deb", func(b *testing.B) {
		program := tool(b, "dpkg-deb")
		dir := b.TempDir()
		for _, o := range rs[0].Outputs {
			for _, f := range o.Files {
				content := f.Content
				if f.Shared() {
					content = src[f.Repo]
				}
				if f.Program {
					content = src["program"]
				}
				p := filepath.Join(dir, f.Path)
				if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
					b.Fatal(err)
				}
				if err := os.WriteFile(p, content, f.Mode); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := os.MkdirAll(filepath.Join(dir, "DEBIAN"), 0o755); err != nil {
			b.Fatal(err)
		}
		control := "Package: agent\nVersion: 1\nArchitecture: amd64\nMaintainer: a <a@localhost>\nDescription: x\n"
		if err := os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(control), 0o644); err != nil {
			b.Fatal(err)
		}
		out := filepath.Join(b.TempDir(), "p.deb")
		n := 0
		for b.Loop() {
			n++
			if msg, err := exec.Command(program, "-Zgzip", "--build", dir, out).CombinedOutput(); err != nil {
				b.Fatalf("%v: %s", err, msg)
			}
		}
		rival := b.Elapsed() / time.Duration(n)
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "packages/s")
		if ours := perOp[schema.Deb]; ours > 0 {
			b.ReportMetric(rival.Seconds()/ours.Seconds(), "ours-times-as-fast")
		}
	})
}

// BenchmarkFirstPackage is a package none of whose segments is in the store yet, and one whose segments are there but not
// known to the process.
func BenchmarkFirstPackage(b *testing.B) {
	rs, src := fleetOf(1)
	full := newMemory()
	baked(b, full, src, rs[0], schema.Deb)
	for name, st := range map[string]func() *memory{"new": newMemory, "reused": func() *memory { return full }} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				baked(b, st(), src, rs[0], schema.Deb)
			}
		})
	}
}
