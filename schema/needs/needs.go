// Package needs is how a test says what it takes of the machine: a program, root, a booted host. There is one rule for
// all. Where something is missing, the test is skipped and says what; where BAKEHOUSE_TEST_ALL is set, everything is
// promised to be there (.ci/run installs it), and the test fails. A test that boots a machine, downloads something or
// takes minutes runs only where it is set, so that a plain `go test ./...` stays quick and keeps to temporary
// directories. No program links this package.
package needs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const variable = "BAKEHOUSE_TEST_ALL"

// Everything reports whether every test must run.
func Everything() bool { return os.Getenv(variable) != "" }

// All skips the test unless every test must run. what says what it does that a plain run must not: "boots a host".
func All(t testing.TB, what string) {
	t.Helper()
	if !Everything() {
		t.Skipf("this test %s: only with %s=1", what, variable)
	}
}

// Tool returns the path of an installed program.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Missing(t, "%s is not installed", name)
	}
	return path
}

// Tools is Tool for programs that are run by their names.
func Tools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		Tool(t, name)
	}
}

// Root is for what only root may do: "mounting".
func Root(t testing.TB, what string) {
	t.Helper()
	if user := os.Geteuid(); user != 0 {
		Missing(t, "%s takes root, and this is user %d", what, user)
	}
}

// Go runs a go command and returns what it prints. It downloads no module, unless every test must run: without one, the
// test has to do without what it tests.
func Go(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	if !Everything() {
		cmd.Env = append(cmd.Env, "GOPROXY=off")
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && bytes.Contains(stderr.Bytes(), []byte("GOPROXY=off")) {
		Missing(t, "a module is not on this machine: %s", &stderr)
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s", cmd.Args, err, &stderr)
	}
	return out
}

// Home is the environment with another home directory, in which the go command still finds what it has downloaded and
// compiled.
func Home(t testing.TB, home string) []string {
	t.Helper()
	env := append(os.Environ(), "HOME="+home, "XDG_CACHE_HOME=", "XDG_CONFIG_HOME=", "XDG_DATA_HOME=")
	return append(env, GoCaches(t)...)
}

// GoCaches is as much of the environment as the go command needs in order to find its caches in another home.
func GoCaches(t testing.TB) []string {
	t.Helper()
	caches, err := goCaches()
	if err != nil {
		t.Fatalf("go env: %v", err)
	}
	return slices.Clone(caches)
}

var goCaches = sync.OnceValues(func() (env []string, err error) {
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	for i, value := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		if err == nil {
			env = append(env, names[i]+"="+value)
		}
	}
	return env, err
})

// Missing ends the test for want of anything else.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if Everything() {
		t.Fatalf("%s, but %s is set (.ci/run installs what tests need)", why, variable)
	}
	t.Skip(why)
}

// Condition is the rule for a script's condition, where there is no test to end: whether it holds, lack being what is
// missing or nil. Where every test must run, a lack is an error.
func Condition(lack error) (holds bool, err error) {
	if lack != nil && Everything() {
		return false, fmt.Errorf("%w, but %s is set (.ci/run installs what tests need)", lack, variable)
	}
	return lack == nil, nil
}
