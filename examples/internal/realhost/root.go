package realhost

import (
	"context"
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

// packages is what the root holds beside Debian's minbase.
const packages = "systemd,systemd-sysv,dbus,iproute2,ca-certificates,rpm"

// cacheDir is where roots and locks of all test runs of this user live.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "bakehouse-test")
	return dir, os.MkdirAll(dir, 0o700)
}

// debianRoot returns the folder of the shared root, building it first if this machine has none yet (about 40 s and
// 260 MB). Processes that want it at the same time wait for the one that builds.
func debianRoot(ctx context.Context, t testing.TB) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	suite, mirror := ownMirror(ctx, t)
	sum := sha256.Sum256([]byte("1 " + suite + " " + packages))
	root := filepath.Join(cache, "debian-"+hex.EncodeToString(sum[:4]))
	lock, err := lockFile(root+".lock", syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	// The holder of the lock is alone here, so a partial root is a dead builder's.
	partial := root + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	t.Logf("building a Debian %s root in %s", suite, root)
	// In namespaces of its own, so that what debootstrap mounts below the new root goes with it.
	cmd := exec.CommandContext(ctx, "sh", "-c", `mount -t proc proc /proc && debootstrap --variant=minbase --include="$1" "$2" "$3" "$4"`,
		"sh", packages, suite, partial, mirror)
	if out, err := runBound(cmd); err != nil {
		return "", fmt.Errorf("debootstrap: %w\n%s", err, lastLines(out, 20))
	}
	return root, os.Rename(partial, root)
}

// ownMirror asks the machine's apt where its own release comes from. It ends the test if apt does not know.
func ownMirror(ctx context.Context, t testing.TB) (suite, mirror string) {
	t.Helper()
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		needs.Missing(t, "no release to bootstrap: %v", err)
	}
	for line := range strings.Lines(string(release)) {
		if v, ok := strings.CutPrefix(line, "VERSION_CODENAME="); ok {
			suite = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		needs.Missing(t, "apt-get indextargets: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == suite && f[1] == "main" && strings.HasPrefix(f[2], "http") {
			return suite, f[2]
		}
	}
	needs.Missing(t, "apt has no index of %q from a mirror (apt-get update fetches it)", suite)
	return "", ""
}

// lockFile opens the file, created if need be, with a lock that ends with the process. With LOCK_NB in how, a lock
// held elsewhere is errLocked.
func lockFile(path string, how int) (*os.File, error) {
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
			return nil, errLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return f, nil
}

var errLocked = errors.New("locked by another process")

// lastLines returns the last n lines of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
