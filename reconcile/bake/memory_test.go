package bake_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
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
	return 100
}

// In a process of its own for each size, or the one would count for the other.
func TestMemoryDoesNotGrowWithThePackage(t *testing.T) {
	if mb := os.Getenv("BAKEHOUSE_TEST_BAKE_MB"); mb != "" {
		bakeGenerated(t, mb)
		return
	}
	peak := func(mb int64) (most int64) {
		t.Helper()
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "BAKEHOUSE_TEST_BAKE_MB="+strconv.FormatInt(mb, 10), "GOMAXPROCS=2", "TMPDIR="+t.TempDir())
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			fmt.Sscanf(line, "peak %d KiB", &most)
		}
		if err != nil || most == 0 {
			t.Fatalf("%v\n%s", err, out)
		}
		return most
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("the system does not tell how much memory a process took")
	}
	large := largePackage()
	small, big := peak(1), peak(large)
	t.Logf("%d KiB for a package of 1 MB, %d KiB for one of %d MB", small, big, large)
	// What the large one may take is the memory for segments, twice, for the collector comes late.
	if big > small+40<<10 {
		t.Errorf("%d KiB for a package of 1 MB, %d KiB for one of %d MB", small, big, large)
	}
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
		for _, format := range []schema.Format{schema.Deb, schema.Tgz, schema.Deb} {
			if _, err := b.Bake(t.Context(), r, format, schema.DigestOf(anchor)); err != nil {
				t.Fatal(err)
			}
		}
		b.Close()
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Printf("peak %s KiB\n", strings.Fields(after)[0])
}

func digestOf(r io.Reader) (schema.Digest, error) {
	h := sha256.New()
	_, err := io.Copy(h, r)
	return schema.Digest(h.Sum(nil)), err
}
