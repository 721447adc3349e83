// Scale makes config repos of any number of hosts, and measures the program on them:
//
//	go run ./examples/scale -hosts 1000 -dir fleet      writes a fleet into a new folder, and commits it
//	go run ./examples/scale -hosts 1000,10000,100000    prints a table of times and memory
//
// The table has evaluation and resolution (`bakehouse check`) and whole passes (`bakehouse reconcile`): from nothing,
// after no change, after a change of one host's file, with the cache and without, and of one rule for all hosts. Beside
// them stands `cue export` on the same folders, which evaluates them without the schema, plugins, rules or what crosses
// folders. Each line is one run in a process of its own; the load of the machine is printed, because it makes figures
// worse.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

func main() {
	hosts := flag.String("hosts", "1000", "number of hosts, or several with commas")
	dir := flag.String("dir", "", "write the fleet here and stop; the folder must not be there yet")
	program := flag.String("program", "", "the bakehouse program to measure (default: built from this module)")
	flag.Parse()
	if err := run(*hosts, *dir, *program); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(hosts, dir, program string) error {
	var sizes []int
	for s := range strings.SplitSeq(hosts, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 999_999 {
			return fmt.Errorf("-hosts %s: not numbers from 1 to 999999", hosts)
		}
		sizes = append(sizes, n)
	}
	if dir == "" {
		return measure(sizes, program)
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	return create(dir, sizes[0])
}

// create writes a fleet into an empty folder and commits it.
func create(dir string, hosts int) error {
	if err := write(dir, hosts); err != nil {
		return err
	}
	if err := git(dir, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	return commit(dir, "The whole fleet")
}

func commit(dir, message string) error {
	if err := git(dir, "add", "-A"); err != nil {
		return err
	}
	return git(dir, "-c", "user.name=scale", "-c", "user.email=scale@bakehouse.example", "commit", "-q", "-m", message)
}

func git(dir string, args ...string) error {
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}
