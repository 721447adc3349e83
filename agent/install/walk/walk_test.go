package walk

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

const service = 12345 // a user of a service

// sandbox is a root where /lib is root's link, and /var/lib/acme the service's folder.
func sandbox(t *testing.T) Host {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc", "usr/lib", "var/lib/acme/data"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink("usr/lib", filepath.Join(root, "lib")),
		os.WriteFile(filepath.Join(root, "etc/passwd"), []byte("root"), 0o644))
	h, aerr := At(root)
	if err := errors.Join(err, aerr); err != nil {
		t.Fatal(err)
	}
	return h
}

// given away are what is at paths, links themselves.
func (h Host) givenAway(t *testing.T, paths ...string) {
	t.Helper()
	needs.Root(t, "giving a file away")
	for _, p := range paths {
		if err := os.Lchown(h.Path(p), service, service); err != nil {
			t.Fatal(err)
		}
	}
}

func TestALinkOfRootIsFollowed(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	if at, err := h.Resolve(h.Path("lib")); err != nil || at != h.Path("usr/lib") {
		t.Errorf("%s, %v", at, err)
	}
	if err := h.Disk().Symlink("x", h.Path("lib/y")); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(h.Path("usr/lib/y")); err != nil || to != "x" {
		t.Errorf("%s, %v", to, err)
	}
	for _, link := range [][2]string{{"up", "../../etc"}, {"whole", h.Path("etc")}, {"twice", "up"}} {
		name, target := link[0], link[1]
		if err := os.Symlink(target, h.Path("usr/lib/"+name)); err != nil {
			t.Fatal(err)
		}
		if at, err := h.Resolve(h.Path("lib/" + name)); err != nil || at != h.Path("etc") {
			t.Errorf("%s: %s, %v", name, at, err)
		}
	}
}

func TestALinkThatTheServicesUserMadeIsNotFollowed(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	link := h.Path("var/lib/acme/data")
	if err := errors.Join(os.Remove(link), os.Symlink("../../../etc", link)); err != nil {
		t.Fatal(err)
	}
	h.givenAway(t, "var/lib/acme", "var/lib/acme/data")
	passwd := filepath.Join(link, "passwd")
	_, oerr := h.Open(passwd)
	_, lerr := h.Lstat(passwd)
	_, rerr := h.Resolve(link)
	for what, err := range map[string]error{"open": oerr, "lstat": lerr, "resolve": rerr,
		"link":    h.Disk().Symlink("x", passwd),
		"remove":  h.Remove(passwd),
		"write":   h.Disk().WriteFile(passwd, []byte("owned"), 0o644),
		"name":    h.Link(h.Path("etc/passwd"), filepath.Join(link, "copy")),
		"further": h.Link(passwd, h.Path("usr/lib/copy")),
	} {
		var led *LedError
		if !errors.As(err, &led) || led.Link != link || !strings.Contains(err.Error(), "user 12345") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := h.Disk().MkdirAll(filepath.Join(link, "new/dir"), 0o755); err == nil {
		t.Error("a folder is made behind the link")
	}
	entries, err := os.ReadDir(h.Path("etc"))
	b, rerr := os.ReadFile(h.Path("etc/passwd"))
	if err != nil || len(entries) != 1 || string(b) != "root" {
		t.Errorf("root's folder has %v, and %q in it (%v, %v)", entries, b, err, rerr)
	}
}

// Whoever may write to a folder may rename a link of root's into it.
func TestALinkOfRootInAFolderOfOthersIsNotFollowed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(h Host, dir string) error{
		"its owner's": func(_ Host, dir string) error { return os.Lchown(dir, service, 0) },
		"its group's": func(_ Host, dir string) error {
			return errors.Join(os.Lchown(dir, 0, service), os.Chmod(dir, 0o775))
		},
		"everybody's":  func(_ Host, dir string) error { return os.Chmod(dir, 0o777) },
		"sticky, even": func(_ Host, dir string) error { return os.Chmod(dir, 0o777|fs.ModeSticky) },
	} {
		t.Run(name, func(t *testing.T) {
			needs.Root(t, "giving a file away")
			h := sandbox(t)
			link := h.Path("var/lib/acme/link")
			if err := errors.Join(os.Symlink("../../../etc", link), change(h, filepath.Dir(link))); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Open(filepath.Join(link, "passwd")); !errors.As(err, new(*LedError)) {
				t.Errorf("followed: %v", err)
			}
		})
	}
}

func TestNothingButAFileIsOpened(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	if err := os.Symlink("passwd", h.Path("etc/link")); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"etc/link", "etc", "etc/absent", "etc/passwd/x"} {
		if f, err := h.Open(h.Path(p)); err == nil {
			t.Errorf("%s is opened as %s", p, f.Name())
		}
	}
	if _, err := h.Open(h.Path("etc/absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}

func TestNoLinkLeadsOutOfTheRootOrInCircles(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	outside := t.TempDir()
	for name, target := range map[string]string{"out": outside, "circle": "circle",
		"up": "../../../../../../../tmp"} {
		if err := os.Symlink(target, h.Path("etc/"+name)); err != nil {
			t.Fatal(err)
		}
		if at, err := h.Resolve(h.Path("etc/" + name)); err == nil {
			t.Errorf("%s leads to %s", name, at)
		}
	}
}

// A folder that is exchanged for a link between two looks at it.
func TestAFolderThatIsExchangedWhileItIsWalkedIsNoWayToRootsFiles(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	dir, other := h.Path("var/lib/acme/data"), h.Path("var/lib/acme/other")
	if err := os.Symlink("../../../etc", other); err != nil {
		t.Fatal(err)
	}
	h.givenAway(t, "var/lib/acme", "var/lib/acme/data", "var/lib/acme/other")
	spare := h.Path("var/lib/acme/spare")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			default:
			}
			os.Rename(dir, spare)
			os.Rename(other, dir)
			os.Rename(dir, other)
			os.Rename(spare, dir)
		}
	}()
	for range 2000 {
		_ = h.Disk().Symlink("owned", filepath.Join(dir, "passwd"))
		_ = h.Remove(filepath.Join(dir, "passwd"))
	}
	close(done)
	<-ended
	entries, err := os.ReadDir(h.Path("etc"))
	if b, rerr := os.ReadFile(h.Path("etc/passwd")); err != nil || len(entries) != 1 || string(b) != "root" {
		t.Errorf("root's folder has %v, and %q in it (%v, %v)", entries, b, err, rerr)
	}
}

// A user makes a file of the package a link, which is kept, and later a folder with files in its place.
func TestALinkThatIsKeptLeadsNoLaterCopyToRootsFiles(t *testing.T) {
	t.Parallel()
	h := sandbox(t)
	etc, link, evil, kept := h.Path("etc"), h.Path("link"), h.Path("evil"), h.Path("var/lib/kept")
	if err := errors.Join(os.Symlink(etc, link), os.WriteFile(evil, []byte("evil"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := h.Keep(link, kept, "/var/lib/acme/x", 100); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(filepath.Join(kept, "/var/lib/acme/x")); err != nil || to != etc {
		t.Errorf("the link is kept as %s, %v", to, err)
	}
	if err := h.Keep(evil, kept, "/var/lib/acme/x/passwd", 100); err == nil {
		t.Error("a file is kept behind the link")
	}
	entries, err := os.ReadDir(etc)
	if b, rerr := os.ReadFile(h.Path("etc/passwd")); err != nil || len(entries) != 1 || string(b) != "root" {
		t.Errorf("root's folder has %v, and %q in it (%v, %v)", entries, b, err, rerr)
	}
	if err := h.Keep(evil, kept, "/var/lib/acme/x", 100); err != nil {
		t.Errorf("a file in the place of the link: %v", err)
	}
}
