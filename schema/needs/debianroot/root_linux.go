package debianroot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bakehouse/schema/needs"
)

// Root is the directory of a root of a suite ("bookworm"), minimal but for these packages. The first time it is built,
// which takes about a minute and 260 MB; processes that want one at the same time wait for the one that builds.
func Root(t testing.TB, suite string, packages ...string) string {
	t.Helper()
	needs.All(t, "builds a Debian root")
	needs.Root(t, "entering a Debian root")
	needs.Tools(t, "debootstrap", "apt-get", "mount")
	root, err := build(t, suite, packages)
	if err != nil {
		t.Fatalf("no Debian %s root: %v", suite, err)
	}
	return root
}

func build(t testing.TB, suite string, packages []string) (string, error) {
	t.Helper()
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	include := strings.Join(packages, ",")
	sum := sha256.Sum256([]byte("1 " + include))
	root := filepath.Join(cache, "debian-"+suite+"-"+hex.EncodeToString(sum[:4]))
	lock, err := Lock(filepath.Join(cache, "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	// The holder of the lock is alone here, so a partial root is a dead builder's.
	partial, downloads := root+".partial", filepath.Join(cache, "packages")
	if err := errors.Join(os.RemoveAll(partial), os.MkdirAll(downloads, 0o700)); err != nil {
		return "", err
	}
	t.Logf("building a Debian %s root in %s", suite, root)
	args := []string{"-c", `mount -t proc proc /proc && exec debootstrap "$@"`, "sh", "--variant=minbase",
		"--cache-dir=" + downloads}
	if include != "" {
		args = append(args, "--include="+include)
	}
	// In namespaces of its own, so that what debootstrap mounts below the new root goes with it.
	cmd := exec.CommandContext(t.Context(), "sh", append(args, suite, partial, mirror(t))...)
	if out, err := run(cmd); err != nil {
		lines := strings.Split(strings.TrimSpace(out), "\n")
		return "", fmt.Errorf("debootstrap: %w\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return root, os.Rename(partial, root)
}

// OwnSuite is the machine's own release. It ends the test if that is none of Debian's.
func OwnSuite(t testing.TB) string {
	t.Helper()
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		needs.Missing(t, "no Debian release: %v", err)
	}
	for line := range strings.Lines(string(release)) {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	needs.Missing(t, "/etc/os-release names no Debian release")
	return ""
}

// mirror asks the machine's apt where its own release comes from. It ends the test if apt does not know.
func mirror(t testing.TB) string {
	t.Helper()
	own := OwnSuite(t)
	out, err := exec.CommandContext(t.Context(), "apt-get", "indextargets",
		"--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		needs.Missing(t, "apt-get indextargets: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == own && f[1] == "main" && strings.HasPrefix(f[2], "http") {
			return f[2]
		}
	}
	needs.Missing(t, "apt has no index of %q from a mirror (apt-get update fetches it)", own)
	return ""
}

// Lock opens a file, created if need be, with a lock that ends with the process. With LOCK_NB in how, a lock held
// elsewhere is ErrLocked.
func Lock(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, ErrLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("locked by another process")
