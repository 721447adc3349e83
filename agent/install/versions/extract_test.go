package versions

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/schema/fault"
)

// entry is a tar entry of a test.
type entry struct {
	name, data, link string
	kind             byte // 0: a file
	mode             int64
}

func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.data)), Linkname: e.link}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// extract returns the paths of an archive's files and links, sorted.
func extract(ctx context.Context, r io.Reader, dir *os.Root, lim limits) ([]string, error) {
	x := extraction{dir: dir, lim: lim}
	if _, err := x.extract(ctx, r); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(x.files)), nil
}

// unpack extracts below a directory that also holds a neighbour, and returns everything there is afterwards.
func unpack(t testing.TB, tgz []byte, lim limits) (files []string, all map[string]string, err error) {
	t.Helper()
	top := t.TempDir()
	inner := filepath.Join(top, "inner")
	for _, d := range []string{inner, filepath.Join(top, "outer")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(top, "outer", "secret"), []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err = extract(context.Background(), bytes.NewReader(tgz), root, lim)
	return files, installtest.Snapshot(t, top), err
}

func TestExtractKeepsContentsModesAndInnerLinks(t *testing.T) {
	top := t.TempDir()
	root, err := os.OpenRoot(top)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err := extract(context.Background(), bytes.NewReader(archive(t,
		entry{name: "./", kind: tar.TypeDir, mode: 0o755},
		entry{name: "./usr/bin/", kind: tar.TypeDir, mode: 0o755},
		entry{name: "./usr/bin/agent", data: "program", mode: 0o755},
		entry{name: "etc/secret", data: "proxy password", mode: 0o600},
		entry{name: "usr/bin/alias", kind: tar.TypeSymlink, link: "agent"},
		entry{name: "usr/bin/again", kind: tar.TypeLink, link: "./usr/bin/agent"},
	)), root, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"etc/secret", "usr/bin/again", "usr/bin/agent", "usr/bin/alias"}; !slices.Equal(files, want) {
		t.Errorf("files %q, want %q", files, want)
	}
	for name, mode := range map[string]fs.FileMode{"usr/bin/agent": 0o755, "etc/secret": 0o600} {
		if fi, err := os.Stat(filepath.Join(top, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want mode %o", name, fi.Mode(), err, mode)
		}
	}
	if b, err := os.ReadFile(filepath.Join(top, "usr/bin/alias")); err != nil || string(b) != "program" {
		t.Errorf("through the link: %q %v", b, err)
	}
}

func TestAnArchiveThatAttacksIsRefusedAndTouchesNothingOutside(t *testing.T) {
	tests := map[string][]entry{
		"path traversal":               {{name: "../outer/secret", data: "owned"}},
		"path traversal in the middle": {{name: "a/../../outer/secret", data: "owned"}},
		"absolute path":                {{name: "/etc/passwd", data: "owned"}},
		"symlink that leads out": {{name: "a", kind: tar.TypeSymlink, link: "../outer"}, {name: "a/secret",
			data: "owned"}},
		"file below an absolute symlink": {{name: "a", kind: tar.TypeSymlink, link: "/etc"},
			{name: "a/secret", data: "owned"}},
		"symlink chain that leads out": {{name: "d/a", kind: tar.TypeSymlink, link: "."}, {name: "b",
			kind: tar.TypeSymlink, link: "d/a/../../outer"},
			{name: "b/secret", data: "owned"}},
		"hard link out of the tree":     {{name: "a", kind: tar.TypeLink, link: "../outer/secret"}},
		"hard link to what is not here": {{name: "a", kind: tar.TypeLink, link: "b"}},
		"character device":              {{name: "a", kind: tar.TypeChar}},
		"block device":                  {{name: "a", kind: tar.TypeBlock}},
		"named pipe":                    {{name: "a", kind: tar.TypeFifo}},
		"set-user-id":                   {{name: "a", data: "x", mode: 0o4755}},
		"control characters in a name":  {{name: "a\x1b[2J", data: "x"}},
		"the same path twice":           {{name: "a", data: "x"}, {name: "./a", data: "y"}},
		"no files at all":               {{name: "a/", kind: tar.TypeDir, mode: 0o755}},
		"more than the limit of bytes": {{name: "a", data: strings.Repeat("x", 600)}, {name: "b",
			data: strings.Repeat("x", 600)}},
		"more than the limit of entries": {{name: "a", data: "x"}, {name: "b", data: "x"}, {name: "c", data: "x"},
			{name: "d", data: "x"},
			{name: "e", data: "x"}},
		"an endless name": {{name: strings.Repeat("n", 90), data: "x"}},
	}
	lim := limits{bytes: 1000, entries: 4, name: 80}
	for name, entries := range tests {
		t.Run(name, func(t *testing.T) {
			_, all, err := unpack(t, archive(t, entries...), lim)
			if !fault.IsRefusal(err) {
				t.Errorf("error %v, want a refusal", err)
			}
			outside := maps.Clone(all)
			maps.DeleteFunc(outside, func(p, _ string) bool { return p == "inner" || strings.HasPrefix(p, "inner/") })
			if want := map[string]string{".": "/", "outer": "/", "outer/secret": "untouched"}; !maps.Equal(outside,
				want) {
				t.Errorf("outside of the tree there is now %q", outside)
			}
		})
	}
}

func TestATruncatedOrBentArchiveIsRefused(t *testing.T) {
	whole := archive(t, entry{name: "a", data: strings.Repeat("data ", 1000)})
	for n := range len(whole) {
		if _, _, err := unpack(t, whole[:n], defaultLimits); err == nil {
			t.Fatalf("the first %d of %d bytes are accepted", n, len(whole))
		}
	}
	bent := bytes.Clone(whole)
	bent[len(bent)-6] ^= 1 // in the checksum
	if _, _, err := unpack(t, bent, defaultLimits); !fault.IsRefusal(err) {
		t.Errorf("wrong checksum: %v, want a refusal", err)
	}
}

// FuzzExtract feeds tar bytes, which are gzipped here, because a fuzzer does not find its way through a checksum.
// Run it with -fuzzminimizetime=20x: what covers new code on one run may not on the next, and minimizing that takes
// minutes.
func FuzzExtract(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "./usr/bin/agent", data: "program", mode: 0o755}},
		{{name: "a", kind: tar.TypeSymlink, link: "b"}, {name: "b/c", data: "x"}, {name: "d", kind: tar.TypeLink,
			link: "b/c"}},
		{{name: "../x", data: "x"}},
	} {
		z, err := gzip.NewReader(bytes.NewReader(archive(f, entries...)))
		if err != nil {
			f.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(z); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(raw)
		z.Close()
		files, all, err := unpack(t, b.Bytes(), limits{bytes: 1 << 20, entries: 64, name: 200})
		for p, what := range all {
			switch {
			case p == "." || p == "inner" || p == "outer" || strings.HasPrefix(p, "inner/"):
			case p != "outer/secret" || what != "untouched":
				t.Errorf("outside of the tree: %q is %q", p, what)
			}
		}
		if err != nil {
			return
		}
		for _, name := range files {
			if _, ok := all["inner/"+name]; !ok {
				t.Errorf("%q is listed and not there", name)
			}
		}
	})
}
