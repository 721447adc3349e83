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
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// The child's part is chosen by the environment, so that the tested program needs no flag.
const (
	childLocation = "BAKEHOUSE_TEST_STORE_LOCATION"
	childKeys     = "BAKEHOUSE_TEST_STORE_KEYS"
	childID       = "BAKEHOUSE_TEST_STORE_ID"
	lockingChild  = "lock" // as ID: take the lock and keep it
)

type result struct{ key, winner string }

// contested is a key that all contend for; new directories are contended for too.
func contested(n int) string {
	return schema.TargetKey(schema.DigestOf(strconv.AppendInt(nil, int64(n), 10)))
}

// Child plays its part and exits, if this process is a child of the suite; else it returns at once.
func Child() {
	location, ok := os.LookupEnv(childLocation)
	if !ok {
		return
	}
	part := contend
	if os.Getenv(childID) == lockingChild {
		part = holdLock
	}
	if err := part(location, os.Getenv(childKeys), os.Getenv(childID)); err != nil {
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
	s, err := stores.Open(ctx, location)
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

// holdLock takes the lock, says it is ready, and leaves releasing it to its own end.
func holdLock(location, _, _ string) error {
	ctx := context.Background()
	s, err := stores.Open(ctx, location)
	if err != nil {
		return err
	}
	if _, err := s.Lock(ctx, "test"); err != nil {
		return err
	}
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

type child struct {
	id    string
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Scanner
	errs  *strings.Builder
}

// startChild starts this test's program again to play a part; it returns once the child is ready.
func startChild(t *testing.T, location, id string, keys int) *child {
	t.Helper()
	c := &child{id: id, errs: &strings.Builder{}, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	c.cmd.Env = append(os.Environ(), childLocation+"="+location, childKeys+"="+strconv.Itoa(keys), childID+"="+id)
	c.cmd.Stderr = c.errs
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.stdin, c.out = stdin, bufio.NewScanner(stdout)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !c.out.Scan() || c.out.Text() != "ready" {
		c.stdin.Close()
		t.Fatalf("%s is not ready: %q, %v %s (does TestMain call storetest.Child?)", id, c.out.Text(), c.cmd.Wait(), c.errs)
	}
	return c
}

func contendProcesses(t *testing.T, location string) {
	const keys, processes = 40, 6
	var children []*child
	for i := range processes {
		children = append(children, startChild(t, location, fmt.Sprintf("process %d", i), keys))
	}
	for _, c := range children {
		c.stdin.Close()
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

func lockOfTheDead(t *testing.T, location string) {
	s := open(t, location)
	c := startChild(t, location, lockingChild, 0)
	_, err := s.Lock(t.Context(), "test")
	if want := strconv.Itoa(c.cmd.Process.Pid); err == nil || !strings.Contains(fault.HintOf(err), want) {
		t.Errorf("beside the process that holds it: %v, hint %q without its number %s", err, fault.HintOf(err), want)
	}
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // it says that the child was killed
	held, err := s.Lock(t.Context(), "test")
	if err != nil {
		t.Fatalf("after that process was killed: %v", err)
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
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
