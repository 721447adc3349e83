package install

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bakehouse/agent/install/installtest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/needs"
)

// lockHolder is set in the process that holdLock starts.
const lockHolder = "BAKEHOUSE_TEST_HOLD_LOCK"

func TestMain(m *testing.M) {
	needs.Memory()
	if name := os.Getenv(lockHolder); name != "" {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
		if err == nil {
			err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK,
				Whence: io.SeekStart})
		}
		fmt.Println("held", err)
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holdLock holds dpkg's frontend lock in another process, as apt does; record locks do not exclude their own process.
func holdLock(t *testing.T, s *System) (pid int, release func()) {
	t.Helper()
	return holdFile(t, s.Path(dpkgDir+"/lock-frontend"))
}

// holdFile holds a record lock on a file in another process.
func holdFile(t *testing.T, name string) (pid int, release func()) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), lockHolder+"="+name)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "held <nil>\n" {
		t.Fatalf("lock holder says %q, %v", line, err)
	}
	released := false
	release = func() {
		if !released {
			released = true
			in.Close()
			c.Wait()
		}
	}
	t.Cleanup(release)
	return c.Process.Pid, release
}

func TestAHeldDpkgLockIsWaitedForAndItsHolderNamed(t *testing.T) {
	s := On(t.TempDir(), nil)
	pid, release := holdLock(t, s)
	_, err := s.lockDpkg(t.Context(), time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", pid)) || fault.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.lockDpkg(ctx, time.Hour); err != context.Canceled {
		t.Errorf("cancelled while waiting: %v", err)
	}
	got := make(chan error)
	go func() {
		l, err := s.lockDpkg(t.Context(), time.Minute)
		if err == nil {
			err = l.Close()
		}
		got <- err
	}()
	release()
	if err := <-got; err != nil {
		t.Errorf("after the other program ended: %v", err)
	}
}

// deb builds a package with dpkg-deb, or skips. A name with @ at its end is that of a link in a directory with files.
func deb(t *testing.T, version string, files map[string]string, scripts map[string]string) Package {
	t.Helper()
	needs.All(t, "installs by dpkg")
	needs.Tools(t, "dpkg", "dpkg-deb")
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("DEBIAN/control", "Package: acme-agent\nVersion: "+version+
		"\nArchitecture: all\nMaintainer: test <test@example.org>\nDescription: test\n", 0o644)
	for name, text := range scripts {
		put("DEBIAN/"+name, text, 0o755)
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(files))) { // a link after what is beside it
		text := files[name]
		link, is := strings.CutSuffix(name, "@")
		if !is {
			put(name, text, 0o644)
		} else if err := os.Symlink(text, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "acme.deb")
	if b, err := exec.Command("dpkg-deb", "-Zgzip", "--root-owner-group", "--build", dir,
		out).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	p := stage(t, schema.Deb, b)
	p.Version = version
	return p
}

// Whatever dpkg would make of it in silence.
func TestALinkThatBecomesAFolderOrBackIsNotLeftToDpkg(t *testing.T) {
	s := On(t.TempDir(), nil)
	linked := deb(t, "1", map[string]string{"opt/p/real/a": "a", "opt/p/dir@": "real"}, nil)
	folder := deb(t, "2", map[string]string{"opt/p/real/a": "a", "opt/p/dir/b": "b"}, nil)
	without := deb(t, "3", map[string]string{"opt/p/real/a": "a"}, nil)
	refused := func(p Package, what string) {
		t.Helper()
		_, err := s.Install(t.Context(), p)
		if err == nil || Touched(err) || OfRelease(err) || !strings.Contains(err.Error(), "/opt/p/dir is a "+what) {
			t.Errorf("%v", err)
		}
	}
	mustInstall(t, s, linked)
	mustInstall(t, s, linked) // again
	refused(folder, "symbolic link of the package that is installed, and a folder in the next one")
	if left := installtest.Snapshot(t, s.Path("/opt/p/real")); len(left) != 2 {
		t.Errorf("where the link leads there is %v", left)
	}
	mustInstall(t, s, without)
	mustInstall(t, s, folder)
	refused(linked, "folder on this host, and a symbolic link in the package")
	mustInstall(t, s, without)
	mustInstall(t, s, linked)
	if to, err := os.Readlink(s.Path("/opt/p/dir")); err != nil || to != "real" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}

func TestADebIsInstalledUpgradedAndDowngradedByDpkgInASandbox(t *testing.T) {
	s := On(t.TempDir(), nil)
	p1, p2 := deb(t, "1", map[string]string{"etc/acme": "one"}, nil),
		deb(t, "2", map[string]string{"etc/acme": "two"}, nil)
	for _, step := range []struct {
		p    Package
		want string
	}{{p1, "one"}, {p2, "two"}, {p1, "one"}, {p1, "one"}} {
		if _, err := s.Install(t.Context(), step.p); err != nil {
			t.Fatalf("%v: %s", err, fault.HintOf(err))
		}
		if b, err := os.ReadFile(filepath.Join(s.Root, "etc/acme")); err != nil || string(b) != step.want {
			t.Errorf("etc/acme is %q, %v, want %q", b, err, step.want)
		}
	}
	status, err := os.ReadFile(filepath.Join(s.Root, dpkgDir, "status"))
	if err != nil || !strings.Contains(string(status), "Status: install ok installed") ||
		!strings.Contains(string(status), "Version: 1\n") {
		t.Errorf("dpkg's database says %q, %v", status, err)
	}
}

func TestADebThatFailsSaysWhyInOneLineAndThePreviousOneMendsIt(t *testing.T) {
	s := On(t.TempDir(), nil)
	good := deb(t, "1", map[string]string{"etc/acme": "one"}, nil)
	if _, err := s.Install(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	// There is no shell in the sandbox, so the new package is unpacked, and its script cannot run.
	bad := deb(t, "2", map[string]string{"etc/acme": "two"}, map[string]string{"postinst": "#!/bin/sh\nexit 0\n"})
	_, err := s.Install(t.Context(), bad)
	if err == nil || !Touched(err) {
		t.Fatalf("error %v, want one that touched the system", err)
	}
	if msg := err.Error(); !strings.HasPrefix(msg, "dpkg failed") || strings.Contains(msg, "\n") ||
		!strings.Contains(fault.HintOf(err), "\n") {
		t.Errorf("error %q, hint %q", msg, fault.HintOf(err))
	}
	if b, _ := os.ReadFile(filepath.Join(s.Root, "etc/acme")); string(b) != "two" {
		t.Fatalf("the bad package was not unpacked, so this shows nothing: %q", b)
	}
	if _, err := s.Install(t.Context(), good); err != nil {
		t.Fatalf("%v: %s", err, fault.HintOf(err))
	}
	if b, _ := os.ReadFile(filepath.Join(s.Root, "etc/acme")); string(b) != "one" {
		t.Errorf("etc/acme is %q", b)
	}
	status, err := os.ReadFile(filepath.Join(s.Root, dpkgDir, "status"))
	if err != nil || !strings.Contains(string(status), "Status: install ok installed") {
		t.Errorf("dpkg's database says %q, %v", status, err)
	}
}

func TestDpkgsReasonIsFoundInItsOutput(t *testing.T) {
	for out, want := range map[string]string{
		"Selecting previously unselected package x.\nPreparing to unpack x ...\nUnpacking x ...\n" +
			"dpkg: error processing archive x.deb (--install):\n trying to overwrite '/usr/bin/y', which is also in package " +
			"z 1\n" +
			"Errors were encountered while processing:\n x.deb\n": "trying to overwrite '/usr/bin/y', which is also in " +
			"package z 1",
		"dpkg: error: requested operation requires superuser privilege\n": "requested operation requires superuser privilege",
		"nothing that is known\n": "nothing that is known",
		"":                        "",
	} {
		if got := dpkgReason([]byte(out)); got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	}
}
