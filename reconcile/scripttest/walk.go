package scripttest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

var shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)```")

// walk GUIDE SECTION runs the commands of a section of examples/GUIDE/README.md in bash, each of which must succeed.
// For /srv/bakehouse, /var/lib and https://forge.example they get the store, lib and forge in the script's directory.
func walk(ts *testscript.TestScript, neg bool, args []string) {
	guide := filepath.Join("examples", args[0], "README.md")
	b, err := os.ReadFile(filepath.Join(state(ts).dir, guide))
	ts.Check(err)
	_, section, ok := strings.Cut(string(b), "\n## "+args[1]+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := shellBlock.FindAllStringSubmatch(section, -1)
	if !ok || len(blocks) == 0 {
		ts.Fatalf("%s has no section %q with commands", guide, args[1])
	}
	work := ts.Getenv("WORK")
	here := strings.NewReplacer("/srv/bakehouse", ts.Getenv("BAKEHOUSE_STORE"),
		"/var/lib/", filepath.Join(work, "lib")+"/", "https://forge.example", filepath.Join(work, "forge"))
	for _, block := range blocks {
		ts.Check(ts.Exec("bash", "-exc", here.Replace(block[1])))
	}
}
