package program

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

func TestAProgramKnowsTheCheckoutThatItWasBuiltFrom(t *testing.T) {
	got := BuiltFrom()
	if got == "" {
		needs.Missing(t, "paths are trimmed (-trimpath)")
	}
	b, err := os.ReadFile(filepath.Join(got, "go.mod"))
	if err != nil || !strings.HasPrefix(string(b), "module bakehouse\n") {
		t.Errorf("%s: %v: %s", got, err, b)
	}
	if hint := sourceHint(); !strings.HasPrefix(hint, "set --source "+got+", ") {
		t.Errorf("%s", hint)
	}
}
