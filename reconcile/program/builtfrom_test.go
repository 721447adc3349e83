package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAProgramKnowsTheCheckoutThatItWasBuiltFrom(t *testing.T) {
	got := BuiltFrom()
	if got == "" {
		t.Skip("paths are trimmed (-trimpath)")
	}
	b, err := os.ReadFile(filepath.Join(got, "go.mod"))
	if err != nil || !strings.HasPrefix(string(b), "module bakehouse\n") {
		t.Errorf("%s: %v: %s", got, err, b)
	}
	if hint := sourceHint(); !strings.HasPrefix(hint, "set --source "+got+", ") {
		t.Errorf("%s", hint)
	}
}
