// Package installtest makes small systems for tests that install real packages by real package managers.
package installtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Tgz packs files, by their paths, as programs.
func Tgz(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		check(t, w.WriteHeader(&tar.Header{Name: "." + name, Typeflag: tar.TypeReg, Mode: 0o755,
			Size: int64(len(files[name]))}))
		_, err := w.Write([]byte(files[name]))
		check(t, err)
	}
	check(t, w.Close())
	check(t, z.Close())
	return b.Bytes()
}

// Snapshot maps every path below dir to what it is: a file's content, "-> target", or "/".
func Snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		what := "/"
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			what = "-> " + to
		case !d.Type().IsRegular() && !d.IsDir():
			what = d.Type().String()
		case !d.IsDir():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			what = string(b)
		}
		rel, err := filepath.Rel(dir, p)
		all[rel] = what
		return err
	}))
	return all
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
