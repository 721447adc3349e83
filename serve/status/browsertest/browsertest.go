// Package browsertest looks at a server's pages with Chromium and axe-core, for tests. .ci/peers/browser drives the
// one, and says what a script may do; .ci/browser has the other.
package browsertest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

// ShotsVariable names the directory for the pictures that scripts take; without it they are not kept.
const ShotsVariable = "BAKEHOUSE_TEST_SHOTS"

// Run runs a script against the server at url, whose certificate the browser trusts for its key alone.
func Run(t *testing.T, url string, certificate *x509.Certificate, script string) {
	t.Helper()
	needs.All(t, "runs a browser")
	chromium := needs.Tool(t, "chromium")
	root := rootOf(t)
	axe := filepath.Join(root, ".ci", "browser", "node_modules", "axe-core", "axe.min.js")
	if _, err := os.Stat(axe); err != nil {
		needs.Missing(t, "axe-core is not installed (npm ci --prefix .ci/browser)")
	}
	driver := filepath.Join(t.TempDir(), "browser")
	build := exec.Command("go", "build", "-o", driver, "./browser")
	build.Dir = filepath.Join(root, ".ci", "peers")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	args := []string{"-chromium", chromium, "-url", url, "-axe", axe, "-profile", t.TempDir(),
		"-spki", base64.StdEncoding.EncodeToString(key[:])}
	if shots := os.Getenv(ShotsVariable); shots != "" {
		if err := os.MkdirAll(shots, 0o755); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-shots", shots)
	}
	cmd := exec.CommandContext(t.Context(), driver, args...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// rootOf is the directory of the module.
func rootOf(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	t.Fatalf("no go.mod above the working directory (%v)", err)
	return ""
}
