package scripttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"bakehouse/serve/store/storetest/s3test"
)

// peer PACKAGE builds a program of the module in .ci/peers, and has it found by its name.
func peer(ts *testscript.TestScript, _ bool, args []string) {
	bin := ts.MkAbs("peers")
	cmd := exec.Command("go", "build", "-o", bin+string(os.PathSeparator), args[0])
	cmd.Dir = filepath.Join(state(ts).dir, ".ci", "peers")
	ts.Check(os.MkdirAll(bin, 0o755))
	if out, err := cmd.CombinedOutput(); err != nil {
		ts.Fatalf("go build %s: %v\n%s", args[0], err, out)
	}
	ts.Setenv("PATH", bin+string(os.PathListSeparator)+ts.Getenv("PATH"))
}

// guide FILE TEXT runs the shell block of a guide that has TEXT in it, in bash.
func guide(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(filepath.Join(state(ts).dir, args[0]))
	ts.Check(err)
	var found []string
	for _, block := range shellBlock.FindAllStringSubmatch(string(b), -1) {
		if strings.Contains(block[1], args[1]) {
			found = append(found, block[1])
		}
	}
	if len(found) != 1 {
		ts.Fatalf("%s has %d shell blocks with %q", args[0], len(found), args[1])
	}
	ts.Check(ts.Exec("bash", "-exc", found[0]))
}

// startS3 is `s3`: it starts an S3 server, and the store of the commands that follow is in a bucket there.
func startS3(ts *testscript.TestScript, _ bool, _ []string) {
	for name, value := range s3test.Credentials() {
		ts.Setenv(name, value)
		ts.Check(os.Setenv(name, value)) // holdlock is of this process
	}
	server, err := s3test.New(filepath.Join(state(ts).dir, ".ci", "peers"), ts.MkAbs(""))
	ts.Check(err)
	ts.Defer(server.Kill)
	ts.Setenv("BAKEHOUSE_STORE", s3test.Location(server.Bucket(), server.Address))
}
