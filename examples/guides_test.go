package examples_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// A message that troubleshooting quotes, with … for what differs, is in one of the programs' texts.
func TestQuotedMessagesAreInTheCode(t *testing.T) {
	guide, err := os.ReadFile("../.github/TROUBLESHOOTING.md")
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("(?m)^\\*\\*`(.+)`\\*\\*$").FindAllStringSubmatch(string(guide), -1)
	if len(quoted) < 20 {
		t.Fatalf("troubleshooting quotes %d messages", len(quoted))
	}
	texts := textsOfTheCode(t)
	for _, q := range quoted {
		if !strings.ContainsFunc(q[1], func(r rune) bool { return r >= 'a' && r <= 'z' }) {
			t.Errorf("%q says nothing", q[1])
		}
		found := false
		for _, text := range texts {
			found = found || inOrder(text, strings.Split(q[1], "…"))
		}
		if !found {
			t.Errorf("no program has the message %q", q[1])
		}
	}
}

// inOrder reports whether all pieces are in the text, one after the other.
func inOrder(text string, pieces []string) bool {
	for _, p := range pieces {
		_, rest, ok := strings.Cut(text, strings.TrimSpace(p))
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

// textsOfTheCode are the string literals of all that is no test, joined where the code adds them.
func textsOfTheCode(t *testing.T) (texts []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || e.Name() == ".git"):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			text := literal(e)
			if text != "" {
				texts = append(texts, text)
			}
			return text == ""
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// literal is the text of a literal or a sum with one, in which anything else is a line break.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, _ := strconv.Unquote(e.Value)
			return text
		}
	case *ast.BinaryExpr:
		x, y := literal(e.X), literal(e.Y)
		if e.Op == token.ADD && x+y != "" {
			return strings.Join([]string{x, y}, map[bool]string{true: "\n"}[x == "" || y == ""])
		}
	}
	return ""
}

// The comparison's rows are numbered without a gap, and each has one of three verdicts.
func TestTheComparisonHasAVerdictPerRow(t *testing.T) {
	page, err := os.ReadFile("../.github/COMPARISON.md")
	if err != nil {
		t.Fatal(err)
	}
	numbered := regexp.MustCompile(`(?m)^\| ([A-Z])(\d+) \|.*$`).FindAllStringSubmatch(string(page), -1)
	verdict := regexp.MustCompile(`^\| \w+ \| [^|]+ \| (works|partly|not yet) \| [^|]*\|$`)
	next := map[string]int{}
	for _, row := range numbered {
		if next[row[1]]++; strconv.Itoa(next[row[1]]) != row[2] {
			t.Errorf("%s%s comes where %s%d is due", row[1], row[2], row[1], next[row[1]])
		}
		if !verdict.MatchString(row[0]) {
			t.Errorf("no verdict: %s", row[0])
		}
	}
	if len(numbered) < 60 {
		t.Errorf("the comparison has %d rows", len(numbered))
	}
}
