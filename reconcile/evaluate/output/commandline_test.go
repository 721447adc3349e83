package output

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bakehouse/schema/needs"
)

func TestACommandLineIsWhatSystemdTakesAndItsAuthorMeans(t *testing.T) {
	for line, want := range map[string]string{
		`/bin/echo`:                       "",
		`/bin/echo "a b" 'c'd \x41 \s \;`: "",
		`/bin/echo $ARGS ${A}b $$ %% %n`:  "",
		`/bin/echo "|" ';' a;b a>b`:       "",
		`/bin/sh -c 'date +%%H | cat'`:    "",
		`/bin/date +%%H:%%M`:              "",
		`echo`:                            "absolute path",
		``:                                "absolute path",
		`"/bin/echo"`:                     "absolute path",
		`/bin/`:                           "a directory",
		`/bin/$X`:                         "replaces no variable",
		`/bin/echo "a`:                    `the quotation mark " is not closed`,
		`/bin/echo it's`:                  "the quotation mark ' is not closed",
		`/bin/echo \q`:                    `knows no escape "\\q"`,
		`/bin/echo a\`:                    `knows no escape "\\"`,
		`/bin/echo \`:                     `knows no escape "\\"`,
		`/bin/echo ^eth\d+$`:              `knows no escape "\\d"`,
		`/bin/echo ; /bin/true`:           "; would end the command",
		`/bin/echo %Z`:                    `knows no "%Z": write %% for a percent sign`,
		`/bin/echo 100%`:                  `knows no "%"`,
		`/bin/date +%H:%M`:                `write %%H`,
		`/bin/date '+%H'`:                 `write %%H`,
		`/bin/ps | /bin/cat`:              "no shell reads it, so | is an argument",
		`/bin/ps > /tmp/x`:                "no shell reads it, so > is an argument",
		`/bin/ps && /bin/true`:            "no shell reads it, so && is an argument",
	} {
		_, err := commandLine(line, false)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
}

// What systemd refuses or reads otherwise than it is written is refused before.
func TestWhatIsTakenForACommandLineIsTakenBySystemd(t *testing.T) {
	analyze := needs.Tool(t, "systemd-analyze")
	parts := []string{"a", `"`, `'`, `\`, `\n`, `\"`, `\x4`, `\x41`, `\101`, `\u00e9`, `\;`, ";", "%", "%%", "%n", "%Q",
		"$", "$$", "${", "${A}", "é", "|", "#", " ", "  ", "=", "-", "@"}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	var lines []string
	for _, a := range parts {
		for _, b := range parts {
			for _, format := range []string{"/bin/echo %s%s", "/bin/echo %s %s c"} {
				name := filepath.Join(dir, fmt.Sprintf("u%d.service", len(lines)))
				line := fmt.Sprintf(format, a, b)
				if err := os.WriteFile(name, []byte("[Service]\nExecStart="+line+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				args, lines = append(args, name), append(lines, line)
			}
		}
	}
	told, _ := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput()
	accepted := 0
	for i, line := range lines {
		if _, err := commandLine(line, false); err != nil {
			continue
		}
		accepted++
		for said := range strings.Lines(string(told)) {
			if strings.Contains(said, fmt.Sprintf("u%d.service", i)) {
				t.Errorf("%s: %s", line, said)
			}
		}
	}
	if accepted < 100 || !strings.Contains(string(told), "Unbalanced quoting") {
		t.Errorf("%d of %d are taken; systemd says\n%s", accepted, len(lines), told)
	}
}
