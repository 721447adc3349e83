package install

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bakehouse/agent/install/installtest"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// stage writes a package into a directory of its own.
func stage(t testing.TB, format schema.Format, b []byte) Package {
	t.Helper()
	name := filepath.Join(t.TempDir(), "staged")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return Package{File: name, SHA256: schema.DigestOf(b), Size: int64(len(b)), Name: "acme-agent", Version: "1",
		Recipe: schema.RecipeID(schema.DigestOf(b).Short()), Format: format}
}

func mustInstall(t testing.TB, s *System, p Package) {
	t.Helper()
	if _, err := s.Install(context.Background(), p); err != nil {
		t.Fatal(err)
	}
}

func TestAStagedPackageThatIsAlteredBeforeInstallationIsRefused(t *testing.T) {
	s := On(t.TempDir(), nil)
	p := stage(t, schema.Tgz, installtest.Tgz(t, map[string]string{"/usr/bin/agent": "1"}))
	b, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	for name, bent := range map[string][]byte{"changed": append([]byte{0}, b[1:]...),
		"longer": append(slices.Clone(b), 0), "shorter": b[:len(b)-1]} {
		if err := os.WriteFile(p.File, bent, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Install(t.Context(), p); !fault.IsRefusal(err) || Touched(err) {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	if left := installtest.Snapshot(t, s.Root); len(left) != 1 {
		t.Errorf("the system has %q", left)
	}
}
