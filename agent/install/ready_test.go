package install

import (
	"bytes"
	"math"
	"os"
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
		look := survey{&System{}, map[string]*mounted{"/a": &c.on}, map[uint64]*place{}}
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

func TestWhatADebNeedsIsReadAsDpkgReadsIt(t *testing.T) {
	for s, want := range map[string][3]string{
		"libc6": {"libc6", "", ""}, " libc6 (>= 2.31) ": {"libc6", ">=", "2.31"}, "python3:any": {"python3", "", ""},
		"a (<<2)": {"a", "<<", "2"}, "mail-transport-agent (= 1:2-3~x)": {"mail-transport-agent", "=", "1:2-3~x"},
		"": {}, "(": {}, "a (": {"a", "", ""},
	} {
		if name, op, version := debRelation(s); [3]string{name, op, version} != want {
			t.Errorf("%q: %q %q %q", s, name, op, version)
		}
	}
	has := installedDebs("installed\ta\t1\tmta, b (= 3)\nconfig-files\tgone\t2\t\ninstalled\tb\t2\t\nbroken\n")
	if !slices.Equal(has["b"], []string{"3", "2"}) || !slices.Equal(has["mta"], []string{""}) || has["gone"] != nil {
		t.Errorf("%q", has)
	}
}

func FuzzDebIsNoArchiveThatEndsTheUpdater(f *testing.F) {
	f.Add([]byte("!<arch>\ndebian-binary   0           0     0     100644  4         `\n2.0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if data, err := debData(bytes.NewReader(b)); err == nil {
			_, _ = tarEntries(data)
		}
	})
}

// What dpkg says of our own package decides what its failure means.
func TestAFailureOfDpkgIsOfTheReleaseOnlyIfItsOwnScriptFailed(t *testing.T) {
	const own = "dpkg: error processing package bakehouse-agent (--install):\n "
	const after, before = "installed bakehouse-agent package post-installation script subprocess ",
		"new bakehouse-agent package pre-installation script subprocess "
	for name, c := range map[string]struct {
		status, out        string
		touched, ofRelease bool
		ok                 bool
	}{
		"its postinst": {"half-configured 2", own + after + "returned error exit status 1", true, true, false},
		"its preinst":  {"installed 1", own + before + "returned error exit status 3", true, true, false},
		"its preinst, which says that the host is not ready": {"installed 1",
			own + before + "returned error exit status 75", true, false, false},
		"a signal, as at a shutdown": {"half-configured 2",
			own + after + "was killed by signal (Terminated)", true, false, false},
		"another package's file": {"installed 1",
			own + "trying to overwrite '/usr/bin/x', which is also in package y 1", false, false, false},
		"a full disk": {"unpacked 2",
			own + "unable to create '/usr/x.dpkg-new': No space left on device", true, false, false},
		"the trigger of another package": {"installed 2", "Setting up bakehouse-agent (2) ...\nProcessing triggers for " +
			"y\ndpkg: error processing package y (--install):\n installed y package post-installation script " +
			"subprocess returned error exit status 1", false, false, true},
		"a script of another package": {"unpacked 2", "dpkg: error processing package y (--install):\n installed y " +
			"package post-installation script subprocess returned error exit status 1", true, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &System{Root: t.TempDir()}
			// dpkg-query that says the status.
			bin := t.TempDir()
			script := "#!/bin/sh\necho '" + c.status + "'\n"
			if err := os.WriteFile(filepath.Join(bin, "dpkg-query"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			err := s.dpkgFailed(t.Context(), Package{Name: "bakehouse-agent", Version: "2", Format: schema.Deb},
				[]byte(c.out), os.ErrInvalid)
			if (err == nil) != c.ok || err != nil && (Touched(err) != c.touched || OfRelease(err) != c.ofRelease) {
				t.Errorf("%v: touched %v, of the release %v", err, Touched(err), OfRelease(err))
			}
		})
	}
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
	s := &System{}
	if out, err := s.command(t.Context(), nil, needs.Tool(t, "dpkg-deb"), "-Zgzip", "--build", dir, deb); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := s.contents(t.Context(), Package{File: deb, Format: schema.Deb})
	slices.SortFunc(got, func(a, b packed) int { return strings.Compare(a.path, b.path) })
	if want := []packed{{"/etc/p.conf", 1, false}, {"/usr/bin/p", 10, true}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}
