package keys

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

// A secret that was stored with its line end is the same secret, whichever way it comes.
func TestALineEndIsNoPartOfAPassphrase(t *testing.T) {
	for _, stored := range []string{"p", "p\n", "p\r\n"} {
		ctx := context.WithValue(t.Context(), environmentKey{}, map[string]string{passphraseVariable("k"): stored})
		got, err := (&PassphraseSource{Flag: "passphrase"}).Passphrase(ctx)("k", false)
		if err != nil || string(got) != "p" {
			t.Errorf("the variable holds %q: %q, %v", stored, got, err)
		}
		file := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(file, []byte(stored), 0o600); err != nil {
			t.Fatal(err)
		}
		none := context.WithValue(t.Context(), environmentKey{}, map[string]string{})
		got, err = (&PassphraseSource{Flag: "passphrase", File: file}).Passphrase(none)("k", false)
		if err != nil || string(got) != "p" {
			t.Errorf("the file holds %q: %q, %v", stored, got, err)
		}
	}
	ctx := context.WithValue(t.Context(), environmentKey{}, map[string]string{passphraseVariable("k"): "\n"})
	if got, err := (&PassphraseSource{Flag: "passphrase"}).Passphrase(ctx)("k", false); err == nil {
		t.Errorf("a line end alone is a passphrase: %q", got)
	}
}
