// Package installtest makes small systems for tests that install real packages by real package managers.
package installtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Tool finds a program that a test needs. Where it is absent the test is skipped, unless all are asked for.
func Tool(t testing.TB, name string) string {
	t.Helper()
	p, err := exec.LookPath(name)
	if err != nil {
		Missing(t, name+" is not installed")
	}
	return p
}

// Missing skips the test for lack of something, or fails it if all tests are asked for.
func Missing(t testing.TB, why string) {
	t.Helper()
	if os.Getenv("BAKEHOUSE_TEST_ALL") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// RpmRoot is the folder of a small system that rpm installs into by chroot: busybox is its shell, under the names given, and a
// package made by rpmbuild says so. rpm's options say where its database is; without any, it is where rpm has it for root.
func RpmRoot(t testing.TB, options []string, commands ...string) string {
	t.Helper()
	build, busybox := Tool(t, "rpmbuild"), Tool(t, "busybox")
	rpm := []string{Tool(t, "rpm")}
	if os.Getuid() != 0 {
		Missing(t, "rpm installs only for root")
	}
	root := t.TempDir()
	for _, d := range []string{"bin", "dev", "etc", "tmp", "run", "usr/bin", "var/lib/rpm"} {
		check(t, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	b, err := os.ReadFile(busybox)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(root, "bin/busybox"), b, 0o755))
	for _, name := range append([]string{"sh"}, commands...) {
		check(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	if out, err := exec.Command("chroot", root, "/bin/sh", "-c", "echo works").CombinedOutput(); err != nil || string(out) != "works\n" {
		Missing(t, "busybox does not run in a chroot (Debian's busybox-static does): "+string(out))
	}
	check(t, syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	top := t.TempDir()
	spec := filepath.Join(top, "base.spec")
	check(t, os.WriteFile(spec, []byte("Name: base\nVersion: 1\nRelease: 1\nSummary: a shell\nLicense: none\nBuildArch: noarch\nProvides: /bin/sh\n%description\na shell\n%files\n"), 0o600))
	run(t, build, "--quiet", "-bb", "--define", "_topdir "+top, spec)
	made, err := filepath.Glob(filepath.Join(top, "RPMS/*/*.rpm"))
	if err != nil || len(made) != 1 {
		t.Fatalf("rpmbuild made %q, %v", made, err)
	}
	rpm = append(append(rpm, "--root="+root), options...)
	run(t, append(rpm, "--initdb")...)
	run(t, append(rpm, "--install", made[0])...)
	return root
}

func run(t testing.TB, argv ...string) {
	t.Helper()
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = append(os.Environ(), "HOME=/root") // by which Debian's rpm finds its database
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
