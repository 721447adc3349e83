package listing

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/needs"
)

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
	got, err := Read(t.Context(), deb, schema.Deb, nil)
	want := List{{Path: "/etc/p.conf", Mode: 0o644, Size: 1, Digest: schema.DigestOf([]byte("x"))},
		{Path: "/usr/bin/p", Mode: 0o755, Size: 10, Digest: schema.DigestOf([]byte("#!/bin/sh\n"))}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestARecordOfFilesIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	r := &Record{Witness: "0:1:2", Files: List{
		{Path: "/etc/a b\n\"c", Mode: 0o640, Size: 12, Digest: schema.DigestOf(nil), seen: 1 << 60},
		{Path: "/usr/lib/x", Link: "../y z"}}}
	got, err := Decode(r.Encode())
	if err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzARecordOfFiles(f *testing.F) {
	f.Add((&Record{Witness: "w", Files: List{{Path: "/a", Link: "b"}}}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(r.Encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q is read as %+v, and that as %+v, %v", b, r, again, err)
		}
	})
}

func TestWhatIsNotAsItCameIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	write := func(path, text string, mode os.FileMode) {
		t.Helper()
		err := errors.Join(os.RemoveAll(at(path)), os.WriteFile(at(path), []byte(text), mode), os.Chmod(at(path), mode))
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(path, text string) File {
		return File{Path: path, Mode: 0o644, Size: int64(len(text)), Digest: schema.DigestOf([]byte(text))}
	}
	l := List{file("/a", "one"), file("/b", "two"), {Path: "/l", Link: "a"}}
	write("/a", "one", 0o644)
	write("/b", "two", 0o644)
	if err := os.Symlink("a", at("/l")); err != nil {
		t.Fatal(err)
	}
	says := func(want string, learns bool) {
		t.Helper()
		differ, learnt := l.Check(at, false)
		if got := fmt.Sprint(differ); got != want || learnt != learns {
			t.Errorf("%s (learnt %t), want %s", got, learnt, want)
		}
	}
	says("[]", true)
	says("[]", false)
	write("/a", "uno", 0o644)
	says("[/a was changed]", false)
	write("/a", "longer", 0o644)
	says("[/a was changed]", false)
	write("/a", "one", 0o600)
	says("[/a has mode 600, not 644]", false)
	write("/a", "one", 0o644) // as it came, at another time
	if err := os.Chtimes(at("/a"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	says("[]", true)
	// Whoever sets size and time back is found by --verify.
	fi, err := os.Lstat(at("/b"))
	if err != nil {
		t.Fatal(err)
	}
	write("/b", "owt", 0o644)
	if err := os.Chtimes(at("/b"), fi.ModTime(), fi.ModTime()); err != nil {
		t.Fatal(err)
	}
	says("[]", false)
	if differ, _ := l.Check(at, true); fmt.Sprint(differ) != "[/b was changed]" {
		t.Errorf("digested: %v", differ)
	}
	if err := errors.Join(os.Remove(at("/b")), os.Remove(at("/l")), os.Mkdir(at("/b"), 0o700)); err != nil {
		t.Fatal(err)
	}
	says("[/b is no file /l is missing]", false)
	if err := os.Remove(at("/b")); err != nil {
		t.Fatal(err)
	}
	says("[/b is missing /l is missing]", false)
	// Just after an installation, what is there is what its scripts made of it.
	write("/b", "made by a script", 0o600)
	l = l.Settle(at)
	says("[]", false)
	if len(l) != 2 {
		t.Errorf("%+v", l)
	}
}
