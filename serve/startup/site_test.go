package startup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFlagsOfASiteThatCannotWorkAreRefusedBeforeAnythingIsMade(t *testing.T) {
	dir := t.TempDir()
	secret, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for name, text := range map[string]string{secret: "s3cret\n", empty: "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv(SecretVariable, "")
	right := Site{Name: "muc", Upstream: "https://bakehouse.example:8443", User: "site-muc", SecretFile: secret,
		Fingerprint: strings.Repeat("ab", 32), CacheSize: "500M"}
	if ok, err := right.Check(); !ok || err != nil {
		t.Fatalf("what is right: %v, %v", ok, err)
	}
	if ok, err := (&Site{CacheSize: "20G"}).Check(); ok || err != nil {
		t.Errorf("no site at all: %v, %v", ok, err)
	}
	for want, change := range map[string]func(*Site){
		"--site is not":                     func(s *Site) { s.Name = "" },
		"--site: ":                          func(s *Site) { s.Name = "a/b" },
		"--site central":                    func(s *Site) { s.Name = "central" },
		"a site has an upstream":            func(s *Site) { s.Upstream = "" },
		"is not https":                      func(s *Site) { s.Upstream = "http://bakehouse.example" },
		"--upstream: ":                      func(s *Site) { s.Upstream = "https://" },
		"no upstream user":                  func(s *Site) { s.User = "" },
		"its name has a colon":              func(s *Site) { s.User = "a:b" },
		"the secret of the upstream user":   func(s *Site) { s.SecretFile = "" },
		"no such file":                      func(s *Site) { s.SecretFile = filepath.Join(dir, "none") },
		"is empty":                          func(s *Site) { s.SecretFile = empty },
		"invalid --root-fingerprint \"12\"": func(s *Site) { s.Fingerprint = "12" },
		"--upstream-ca: ":                   func(s *Site) { s.CA = secret },
		"--cache-size \"3x\" is not":        func(s *Site) { s.CacheSize = "3x" },
		"--cache-size \"0\" is not":         func(s *Site) { s.CacheSize = "0" },
		"--cache-size \"9999999999G\"":      func(s *Site) { s.CacheSize = "9999999999G" },
	} {
		s := right
		change(&s)
		if ok, err := s.Check(); ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", want, ok, err)
		}
	}
}

func TestSizesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "2K": 2048, "500M": 500 << 20, "20G": 20 << 30, "1T": 1 << 40} {
		if got, err := Size(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}
