package needs

import (
	"flag"
	"strconv"
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
