//go:build unix

package installtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"bakehouse/schema/needs"
)

// Command prepares a program that finds an empty home, in which rpm, rpmbuild and rpmsign keep a database.
func Command(t testing.TB, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC", "HOME="+t.TempDir())
	return c
}

// RpmBuild makes the one package that spec describes, and returns its file.
func RpmBuild(t testing.TB, spec string) string {
	t.Helper()
	needs.All(t, "runs rpmbuild")
	build, top := needs.Tool(t, "rpmbuild"), t.TempDir()
	file := filepath.Join(top, "p.spec")
	check(t, os.WriteFile(file, []byte(spec), 0o600))
	run(t, Command(t, build, "--quiet", "-bb", "--define", "_topdir "+top, file))
	made, err := filepath.Glob(filepath.Join(top, "RPMS/*/*.rpm"))
	if err != nil || len(made) != 1 {
		t.Fatalf("rpmbuild made %q, %v", made, err)
	}
	return made[0]
}

// Shell is the specification of a package without files that says that there is a shell.
const Shell = `Name: base
Version: 1
Release: 1
Summary: a shell
License: none
BuildArch: noarch
Provides: /bin/sh
%description
a shell
%files
`

// RpmRoot is the directory of a small system that rpm installs into by chroot: busybox is its shell, under the names
// given, and a package made by rpmbuild says so. rpm's options say where its database is; without any, it is where rpm
// has it for root.
func RpmRoot(t testing.TB, options []string, commands ...string) string {
	t.Helper()
	needs.All(t, "installs by rpm")
	rpm := needs.Tool(t, "rpm")
	shell := RpmBuild(t, Shell)
	root := BusyboxRoot(t, commands...)
	for _, args := range [][]string{{"--initdb"}, {"--install", shell}} {
		c := Command(t, rpm, append(append([]string{"--root=" + root}, options...), args...)...)
		c.Env = append(c.Env, "HOME=/root") // by which Debian's rpm finds its database, below the root
		run(t, c)
	}
	return root
}

// BusyboxRoot is the directory of a small system, to be entered by chroot: busybox is its shell, under the names given.
func BusyboxRoot(t testing.TB, commands ...string) string {
	t.Helper()
	needs.Root(t, "entering a root")
	busybox := needs.Tool(t, "busybox")
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
	out, err := exec.Command("chroot", root, "/bin/sh", "-c", "echo works").CombinedOutput()
	if err != nil || string(out) != "works\n" {
		needs.Missing(t, "busybox does not run in a chroot (Debian's busybox-static does): %s", out)
	}
	check(t, syscall.Mknod(filepath.Join(root, "dev/null"), syscall.S_IFCHR|0o666, 1<<8|3))
	return root
}

func run(t testing.TB, c *exec.Cmd) {
	t.Helper()
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", c.Args, err, out)
	}
}
