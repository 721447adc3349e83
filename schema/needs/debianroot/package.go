package debianroot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is the file of a package of the machine's own Debian release, fetched once per machine and version.
func Package(name string) (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "debs")
	out, err := exec.Command("apt-get", "download", "--print-uris", name).Output()
	if err != nil {
		return "", fmt.Errorf("apt-get download %s: %w", name, err)
	}
	f := strings.Fields(string(out)) // 'URI' FILE SIZE CHECKSUM
	if len(f) < 3 {
		return "", fmt.Errorf("apt knows no package %s: %s", name, out)
	}
	deb := filepath.Join(cache, f[1])
	if _, err := os.Stat(deb); err == nil {
		return deb, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("apt-get", "download", "--quiet", "-o", "APT::Sandbox::User=root", name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download %s: %w\n%s", name, err, out)
	}
	return deb, os.Rename(filepath.Join(dir, f[1]), deb)
}
