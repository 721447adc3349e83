package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A README's commands with --help appended: cobra reads all flags first, so a command or flag that does not exist fails,
// and nothing is run.
func TestCommandsAndFlagsInTheReadmesExist(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "bakehouse", "bakehouse/agent/cmd/bakehouse-agent").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	readmes, err := filepath.Glob("*/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, readme := range readmes {
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range shellLines(string(text)) {
			words := strings.Fields(line)
			if words[0] != "bakehouse" && words[0] != "bakehouse-agent" {
				continue
			}
			found++
			for i, word := range words {
				if strings.Contains(word, "$") {
					words[i] = "1" // whatever the shell puts there
				}
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, words[0]), append(words[1:], "--help")...)
			cmd.Dir = bin
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %q: %v\n%s", readme, line, err, out)
			}
		}
	}
	if found == 0 {
		t.Error("no README shows a command")
	}
}

var shellBlock = regexp.MustCompile("(?s)```(?:sh|console)\n(.*?)```")

// shellLines returns the commands of a README's shell blocks, without comments, redirections and what comes after && or |.
func shellLines(text string) []string {
	var lines []string
	for _, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		joined := strings.ReplaceAll(block[1], "\\\n", " ")
		for line := range strings.Lines(joined) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			for _, end := range []string{" #", " >", " && ", " | ", " &"} {
				line, _, _ = strings.Cut(line, end)
			}
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}
