package bake_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"bakehouse/schema"
)

func TestQuickLook(t *testing.T) {
	st, r := newMemory(), repo{}
	p := assembled(t, st, baked(t, st, r, example(r, someID, ":9100"), schema.Deb))
	f := filepath.Join(t.TempDir(), "p.deb")
	os.WriteFile(f, p, 0o600)
	for _, a := range [][]string{{"-I", f}, {"-c", f}, {"-I", f, "control", "postinst", "prerm"}} {
		out, err := exec.Command(tool(t, "dpkg-deb"), a...).CombinedOutput()
		t.Logf("%s %v", out, err)
	}
}
