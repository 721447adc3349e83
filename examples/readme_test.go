package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// guides are the README and all that it leads to.
func guides(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"../README.md", "../.github/*.md", "*/README.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = string(text)
		}
	}
	return texts
}

// The commands of the guides, in blocks and in sentences, with --help appended: cobra reads all flags first, so a
// command or flag that does not exist fails, and nothing is run.
func TestCommandsAndFlagsInTheGuidesExist(t *testing.T) {
	bin := programs(t)
	checked := map[string]bool{}
	for file, text := range guides(t) {
		for _, line := range append(shellLines(text), inSentences(text)...) {
			words := strings.Fields(line)
			if words[0] != "bakehouse" && words[0] != "bakehouse-agent" || checked[line] {
				continue
			}
			checked[line] = true
			t.Run(line, func(t *testing.T) {
				t.Parallel()
				if problem := wrongUsage(t, bin, words); problem != "" {
					t.Errorf("%s: %s", file, problem)
				}
			})
		}
	}
	if len(checked) < 50 {
		t.Errorf("the guides show %d commands", len(checked))
	}
}

// The commands that the status page shows, and its JSON twins.
func TestCommandsOnTheStatusPageExist(t *testing.T) {
	bin := programs(t)
	inCode := regexp.MustCompile(`[">](bakehouse(?:-agent)? [a-z][^"<{]*)["<]`)
	checked := map[string]bool{}
	for _, pattern := range []string{"../serve/status/web/*.html", "../serve/view/build/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, found := range inCode.FindAllStringSubmatch(string(text), -1) {
				line := found[1]
				if strings.HasSuffix(line, " ") {
					line += "web01" // what the page puts there
				}
				if strings.HasSuffix(file, "_test.go") || checked[line] {
					continue
				}
				checked[line] = true
				if problem := wrongUsage(t, bin, strings.Fields(line)); problem != "" {
					t.Errorf("%s: %s: %s", file, line, problem)
				}
			}
		}
	}
	if len(checked) < 10 {
		t.Errorf("the pages show %d commands: %v", len(checked), checked)
	}
}

// wrongUsage says what is wrong with a command line, if anything.
func wrongUsage(t *testing.T, bin string, words []string) string {
	args := []string{}
	for _, word := range words[1:] {
		if strings.Contains(word, "$") {
			word = "1" // whatever the shell puts there
		}
		args = append(args, word)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(bin, words[0]), append(args, "--help")...)
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		return err.Error() + "\n" + string(out)
	}
	// A command that takes no arguments, and a group of commands, show their help whatever word follows.
	usage := regexp.MustCompile(`(?m)^  (bakehouse(?:-agent)?(?: [a-z]\S*)*)(.*)$`).FindStringSubmatch(string(out))
	if usage == nil {
		return "no usage in its help"
	}
	given := slices.IndexFunc(append(args, "-"), func(a string) bool { return strings.HasPrefix(a, "-") })
	if path := strings.Fields(usage[1]); given > len(path)-1 && !strings.ContainsFunc(usage[2], unicode.IsUpper) {
		return "unknown command: " + usage[1] + " takes no arguments"
	}
	return ""
}

var (
	shellBlock = regexp.MustCompile("(?s)```(?:sh|console)\n(.*?)```")
	block      = regexp.MustCompile("(?s)```.*?```")
	inline     = regexp.MustCompile("`(bakehouse(?:-agent)? [^`]+)`")
)

// shellLines returns the commands of a text's shell blocks, without comments, redirections and what comes
// after && or |.
func shellLines(text string) []string {
	var lines []string
	for _, block := range shellBlock.FindAllStringSubmatch(text, -1) {
		joined := strings.ReplaceAll(block[1], "\\\n", " ")
		for line := range strings.Lines(joined) {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			if _, command, ok := strings.Cut(line, "=$("); ok {
				line = strings.TrimSuffix(command, ")")
			}
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

// inSentences returns the commands in a text's sentences. One that stands for all has COMMAND in it.
func inSentences(text string) (lines []string) {
	for _, found := range inline.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		if !strings.Contains(found[1], "COMMAND") {
			lines = append(lines, found[1])
		}
	}
	return lines
}

// Links within the repository lead somewhere.
func TestLinksInTheGuidesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`)
	found := 0
	for file, text := range guides(t) {
		for _, to := range link.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
			found++
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), to[1])); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
	if found == 0 {
		t.Error("no guide has a link")
	}
}
