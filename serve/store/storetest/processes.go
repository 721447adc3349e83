package storetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"bakehouse/schema"
	"bakehouse/serve/store"
)

// The child's part is chosen by the environment, so that the tested program needs no flag.
const (
	childLocation = "BAKEHOUSE_STORETEST_LOCATION"
	childKeys     = "BAKEHOUSE_STORETEST_KEYS"
	childID       = "BAKEHOUSE_STORETEST_ID"
)

type result struct{ key, winner string }

// contested is a key that all contend for; new directories are contended for too.
func contested(n int) string {
	return schema.TargetKey(schema.DigestOf(strconv.AppendInt(nil, int64(n), 10)))
}

// Child contends for keys and exits, if this process is a child of the suite; else it returns at once.
func Child() {
	location, ok := os.LookupEnv(childLocation)
	if !ok {
		return
	}
	if err := contend(location, os.Getenv(childKeys), os.Getenv(childID)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// contend says it is ready, waits for its input to end, tries to create every key and prints those it created.
func contend(location, keys, id string) error {
	n, err := strconv.Atoi(keys)
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := store.Open(ctx, location)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for k := range n {
		err := store.CreateBytes(ctx, s, contested(k), []byte(id))
		if err == nil {
			fmt.Println(contested(k))
		} else if !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func contendProcesses(t *testing.T, location string) {
	const keys, processes = 40, 6
	type child struct {
		id    string
		cmd   *exec.Cmd
		start io.Closer
		out   *bufio.Scanner
		errs  *strings.Builder
	}
	var children []child
	for i := range processes {
		c := child{id: fmt.Sprintf("process %d", i), errs: &strings.Builder{}}
		c.cmd = exec.CommandContext(t.Context(), os.Args[0])
		c.cmd.Env = append(os.Environ(), childLocation+"="+location, childKeys+"="+strconv.Itoa(keys), childID+"="+c.id)
		c.cmd.Stderr = c.errs
		stdin, err := c.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := c.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.start, c.out = stdin, bufio.NewScanner(stdout)
		if err := c.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, c)
	}
	for _, c := range children {
		if !c.out.Scan() || c.out.Text() != "ready" {
			t.Fatalf("%s is not ready: %q %s (does TestMain call storetest.Child?)", c.id, c.out.Text(), c.errs)
		}
	}
	for _, c := range children {
		c.start.Close()
	}
	results := make(chan result, keys*processes)
	for _, c := range children {
		for c.out.Scan() {
			results <- result{c.out.Text(), c.id}
		}
		if err := c.cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", c.id, err, c.errs)
		}
	}
	close(results)
	checkWinners(t, open(t, location), keys, results)
}

// checkWinners holds that every key has exactly one winner and that winner's bytes.
func checkWinners(t *testing.T, s store.Store, keys int, results <-chan result) {
	t.Helper()
	winners := map[string][]string{}
	for r := range results {
		winners[r.key] = append(winners[r.key], r.winner)
	}
	for k := range keys {
		key := contested(k)
		if w := winners[key]; len(w) != 1 {
			t.Errorf("%s has %d winners: %q", key, len(w), w)
		} else if got := content(t, s, key); got != w[0] {
			t.Errorf("%s was created by %s but holds %q", key, w[0], got)
		}
	}
}
