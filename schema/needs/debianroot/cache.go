// Package debianroot makes Debian roots for tests, each once per machine.
//
//	cache/debian-SUITE-HASH   a root of that suite with those packages, never written to again
//	cache/packages            what debootstrap downloaded, for the next root
//	cache/lock                who holds this lock builds; the others wait
//
// The cache is bakehouse-test below the user's cache directory, so only tests that run with BAKEHOUSE_TEST_ALL make or
// use it. A root comes from the mirror that the machine's own packages come from. Whoever wants to change one puts an
// overlay over it. It needs root, Linux and the tools that .ci/run installs.
package debianroot

import (
	"os"
	"path/filepath"
)

// Cache is the directory that the test runs of this user share.
func Cache() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "bakehouse-test")
	return dir, os.MkdirAll(dir, 0o700)
}
