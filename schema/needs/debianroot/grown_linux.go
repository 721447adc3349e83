package debianroot

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// growScript enters a root: $1 is the root, $2 what sh runs in it. apt reaches the mirror as this machine does.
const growScript = `set -eu
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
cat /etc/resolv.conf >"$1/etc/resolv.conf"
exec chroot "$1" /bin/sh -euc "$2"
`

// Grown is the directory of a root of the machine's own suite, minimal but for files, which go into it first, by their
// paths, and for what script, run by sh in it, then did. It is built once per machine, as by Root.
func Grown(t testing.TB, name, script string, files map[string][]byte) string {
	t.Helper()
	base := Root(t, OwnSuite(t))
	root, err := grow(t, base, name, script, files)
	if err != nil {
		t.Fatalf("no Debian root with %s: %v", name, err)
	}
	return root
}

func grow(t testing.TB, base, name, script string, files map[string][]byte) (string, error) {
	t.Helper()
	sum := sha256.Sum256(fmt.Appendf(nil, "1 %s %s %v", base, script, files))
	root := filepath.Join(filepath.Dir(base), name+"-"+hex.EncodeToString(sum[:4]))
	lock, err := Lock(filepath.Join(filepath.Dir(base), "lock"), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if _, err := os.Stat(root); err == nil {
		return root, nil
	}
	partial := root + ".partial" // of a dead builder, as in build
	if err := os.RemoveAll(partial); err != nil {
		return "", err
	}
	t.Logf("building a Debian root with %s in %s", name, root)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", base, partial).CombinedOutput(); err != nil {
		return "", fmt.Errorf("cp: %w\n%s", err, out)
	}
	for file, content := range files {
		file = filepath.Join(partial, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, content, 0o644)); err != nil {
			return "", err
		}
	}
	if out, err := run(exec.CommandContext(t.Context(), "sh", "-c", growScript, "sh", partial, script)); err != nil {
		lines := strings.Split(strings.TrimSpace(out), "\n")
		return "", fmt.Errorf("%w\n%s", err, strings.Join(lines[max(0, len(lines)-20):], "\n"))
	}
	return root, os.Rename(partial, root)
}
