package ready

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

func TestWhatAHostLacksIsFoundBeforeAnythingIsTouched(t *testing.T) {
	for name, c := range map[string]struct {
		file  packed
		on    mounted
		wants string // empty: ready
	}{
		"room for it": {packed{"/a/b", 1 << 20, true}, mounted{free: 100 << 20, inodes: 10}, ""},
		"a read-only file system": {packed{"/a/b", 1, false}, mounted{free: 100 << 20, inodes: 10, readOnly: true},
			"is mounted read-only"},
		"a program on noexec": {packed{"/a/b", 1, true}, mounted{free: 100 << 20, inodes: 10, noexec: true},
			"is mounted noexec, and /a/b is a program"},
		"no program on noexec": {packed{"/a/b", 1, false}, mounted{free: 100 << 20, inodes: 10, noexec: true}, ""},
		"too little room": {packed{"/a/b", 90 << 20, false}, mounted{free: 100 << 20, inodes: 10},
			"not enough disk space"},
		"no inodes":          {packed{"/a/b", 1, false}, mounted{free: 100 << 20}, "not enough inodes"},
		"inodes not counted": {packed{"/a/b", 1, false}, mounted{free: 100 << 20, inodes: -1}, ""},
		"more than there can be": {packed{"/a/b", math.MaxInt64 / 2, false}, mounted{free: 100 << 20, inodes: 9},
			"not enough disk space"},
	} {
		look := survey{func(p string) string { return p }, map[string]*mounted{"/a": &c.on}, map[uint64]*place{}}
		err := look.add(c.file)
		for _, on := range look.places {
			if err == nil {
				err = on.room()
			}
		}
		if (err == nil) != (c.wants == "") || err != nil && !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: %v, want %q", name, err, c.wants)
		}
	}
}

func FuzzDebIsNoArchiveThatEndsTheUpdater(f *testing.F) {
	f.Add([]byte("!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if data, err := debData(bytes.NewReader(b)); err == nil && data != nil {
			_, _ = tarEntries(data)
		}
	})
}

func TestADebsFilesAreListedWithTheirSizes(t *testing.T) {
	deb := filepath.Join(t.TempDir(), "p.deb")
	dir := t.TempDir()
	for file, text := range map[string]string{"DEBIAN/control": "Package: p\nVersion: 1\nArchitecture: all\n" +
		"Maintainer: m <m@example.com>\nDescription: d\n", "usr/bin/p": "#!/bin/sh\n", "etc/p.conf": "x"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(file, "usr/bin") {
			mode = 0o755
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command(needs.Tool(t, "dpkg-deb"), "-Zgzip", "--build", dir, deb).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := Host{}.contents(t.Context(), deb, schema.Deb)
	slices.SortFunc(got, func(a, b packed) int { return strings.Compare(a.path, b.path) })
	if want := []packed{{"/etc/p.conf", 1, false}, {"/usr/bin/p", 10, true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
