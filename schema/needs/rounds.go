package needs

import (
	"flag"
	"hash/fnv"
	"strconv"
	"strings"
	"testing"
)

// fewer is how many times fewer rounds tests have under the race detector, which sees in one round what it sees in the
// next: who dies at which write, and what is drawn at random, is told apart by the tests without it.
const fewer = 3

// Every is how large the steps are in which a test walks through its rounds, such as the writes that a run may die at:
// each where every test must run, otherwise those of a plain run, and fewer under the race detector.
func Every(plain int) int {
	switch {
	case Everything():
		return 1
	case Race:
		return fewer * plain
	}
	return plain
}

// Properties has package rapid draw fewer cases under the race detector, unless the command line says how many. It is
// called by TestMain.
func Properties() {
	if f := flag.Lookup("rapid.checks"); f != nil && Race {
		if n, err := strconv.Atoi(f.DefValue); err == nil {
			_ = f.Value.Set(strconv.Itoa(n / fewer))
		}
	}
}

// Alike says that the cases of a test walk the same code and differ in their data, as those of a table of attacks do.
// Under the race detector one in a few cases runs, always the same ones by their names. What is no case runs always.
func Alike(t testing.TB) {
	t.Helper()
	if _, of, is := strings.Cut(t.Name(), "/"); is && !Drawn(of) {
		t.Skip("the race detector sees in other cases what it sees in this one")
	}
}

// Drawn reports whether a case of that name runs, where a test has no tests of its own for its cases.
func Drawn(name string) bool {
	if !Race {
		return true
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()%fewer == 0
}

// Alone says that a test has nothing of two goroutines in it, so that the race detector cannot find anything.
func Alone(t testing.TB) {
	t.Helper()
	if Race {
		t.Skip("one goroutine: the race detector has nothing to see")
	}
}
