//go:build linux && !race

// The race detector takes memory of its own, and other systems tell in other units how much a process took.

package bake_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/needs"
)

// folder is a store in a folder, for what shall not be in memory.
type folder string

func (f folder) Open(_ context.Context, key string) (io.ReadCloser, error) {
	return os.Open(filepath.Join(string(f), key))
}

func (f folder) Create(_ context.Context, key string, r io.Reader) error {
	name := filepath.Join(string(f), key)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	w, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// generated is one file of that many bytes that nothing compresses, made while it is read.
type generated int64

func (g generated) Open(fleet.File, schema.Platform) (io.ReadCloser, error) {
	return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{1}), int64(g))), nil
}

// The size of the large package, in MB; a benchmark may ask for more.
func largePackage() int64 {
	if mb, err := strconv.ParseInt(os.Getenv("BAKEHOUSE_TEST_MB"), 10, 64); err == nil {
		return mb
	}
	return 64
}

// In a process of its own for each size, or the one would count for the other.
func TestMemoryDoesNotGrowWithThePackage(t *testing.T) {
	if mb := os.Getenv("BAKEHOUSE_TEST_BAKE_MB"); mb != "" {
		bakeGenerated(t, mb)
		return
	}
	large := largePackage()
	small, big := peak(t, 1), peak(t, large)
	t.Logf("%d KiB for a package of 1 MB, %d KiB for one of %d MB", small, big, large)
	// What the large one may take is the memory for segments, twice, for the collector comes late.
	if big > small+40<<10 {
		t.Errorf("%d KiB for a package of 1 MB, %d KiB for one of %d MB", small, big, large)
	}
}

// peak is the most memory in KiB that a process takes which bakes a file of so many MB.
func peak(t testing.TB, mb int64) int64 {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestMemoryDoesNotGrowWithThePackage$")
	cmd.Env = append(os.Environ(), "BAKEHOUSE_TEST_BAKE_MB="+strconv.FormatInt(mb, 10), "GOMAXPROCS=2", "TMPDIR="+t.TempDir())
	return peakOf(t, cmd)
}

// peakOf is the most memory in KiB that a process took at once.
func peakOf(t testing.TB, cmd *exec.Cmd) int64 {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
}

// BenchmarkMemory is the most memory that a process takes to package one file that does not compress, of 64 MB or
// BAKEHOUSE_TEST_MB. A process starts with what its parent had, so all are started from here alike.
func BenchmarkMemory(b *testing.B) {
	mb := largePackage()
	dir := b.TempDir()
	content, _ := generated(mb<<20).Open(fleet.File{}, linux)
	if err := errors.Join(os.Chmod(dir, 0o755), os.MkdirAll(filepath.Join(dir, "opt"), 0o755), os.MkdirAll(filepath.Join(dir, "DEBIAN"), 0o755),
		os.WriteFile(filepath.Join(dir, "DEBIAN/control"), []byte(rivalControl), 0o644)); err != nil {
		b.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "opt/large"))
	if err == nil {
		_, err = io.Copy(f, content)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		b.Fatal(err)
	}
	r := &rules.Recipe{Outputs: []*fleet.Output{{Files: []fleet.File{{Path: "/opt/large", Mode: 0o644}}}}}
	theirs := nfpmInfo(r, dir).packaging(b, nfpm(b), "deb", filepath.Join(b.TempDir(), "p.deb"))
	b.ReportMetric(float64(peak(b, mb))/1024, "ours-MiB")
	b.ReportMetric(float64(peakOf(b, theirs))/1024, "nfpm-MiB")
	b.ReportMetric(float64(peakOf(b, exec.Command(needs.Tool(b, "dpkg-deb"), "-Zgzip", "--build", dir, filepath.Join(b.TempDir(), "p.deb"))))/1024, "dpkg-deb-MiB")
}

func bakeGenerated(t *testing.T, mb string) {
	n, err := strconv.ParseInt(mb, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	src := generated(n << 20)
	content, _ := src.Open(fleet.File{}, linux)
	sum, err := digestOf(content)
	if err != nil {
		t.Fatal(err)
	}
	r := &rules.Recipe{ID: someID, Platform: linux, Outputs: []*fleet.Output{{Plugin: "p",
		Files: []fleet.File{{Path: "/opt/large", Mode: 0o644, SHA256: sum, Size: int64(src), Repo: "large"}}}}}
	st := folder(t.TempDir())
	// Made, found in the store, and known: each reads it in another way.
	for range 2 {
		b := bake.New(st, src)
		for _, format := range []schema.Format{schema.Deb, schema.Tgz, schema.Deb, schema.Rpm, schema.Rpm, schema.Pkg, schema.Pkg} {
			if _, err := b.Bake(t.Context(), made(r, format), format, schema.DigestOf(anchor)); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
	}
}

func digestOf(r io.Reader) (schema.Digest, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return schema.Digest(h.Sum(nil)), err
}
