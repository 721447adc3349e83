package needs_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// own is how a test would decide for itself what it can do without.
var own = map[string]*regexp.Regexp{
	".go":    regexp.MustCompile(`"BAKEHOUSE_TEST_ALL"|\.Skip(f|Now)?\(|testing\.Short\(`),
	".txtar": regexp.MustCompile(`(?m)^\[!?exec:`),
	".txt":   regexp.MustCompile(`(?m)^\[!?exec:`),
}

// exceptions are skips for want of nothing that could be installed.
var exceptions = map[string]string{
	"schema/needs/needs.go":      "the rule itself",
	"schema/needs/needs_test.go": "the rule itself",
	"schema/needs/rounds.go":     "the rule itself",
	"schema/needs/rule_test.go":  "the rule itself",
}

func TestNoTestHasAnotherRule(t *testing.T) {
	top := filepath.Join("..", "..")
	err := filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(top, path)
		if d.IsDir() && name != "." && strings.HasPrefix(d.Name(), ".") {
			return fs.SkipDir
		}
		forbidden := own[filepath.Ext(path)]
		if err != nil || d.IsDir() || forbidden == nil {
			return err
		}
		b, err := os.ReadFile(path)
		at := forbidden.FindIndex(b)
		name = filepath.ToSlash(name)
		switch {
		case err != nil || at == nil && exceptions[name] == "":
		case at == nil:
			t.Errorf("%s is no exception any more", name)
		case exceptions[name] == "":
			t.Errorf("%s:%d: %q: skip by package needs", name, bytes.Count(b[:at[0]], []byte("\n"))+1, b[at[0]:at[1]])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
