package main

import (
	"bytes"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// bench is the programs, and the folders that they work in.
type bench struct {
	bakehouse, cue string
	home           string // of one size: the fleet, keys, store and cache
	hosts          int
}

func (b *bench) fleet() string { return filepath.Join(b.home, "fleet") }

// measure prints the table.
func measure(sizes []int, program string) error {
	dir, err := os.MkdirTemp("", "scale-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := bench{bakehouse: program, cue: filepath.Join(dir, "cue")}
	if b.bakehouse == "" {
		b.bakehouse = filepath.Join(dir, "bakehouse")
		if err := build(b.bakehouse, "bakehouse"); err != nil {
			return err
		}
	}
	if err := build(b.cue, "cuelang.org/go/cmd/cue"); err != nil {
		return err
	}
	fmt.Printf("%d processors, load before: %s\n\n| hosts | what | wall | CPU | most memory |\n|---|---|---|---|---|\n", runtime.NumCPU(), load())
	for _, b.hosts = range sizes {
		b.home = filepath.Join(dir, fmt.Sprint(b.hosts))
		if err := b.run(); err != nil {
			return err
		}
	}
	fmt.Printf("\nload after: %s\n", load())
	return nil
}

func build(to, pkg string) error {
	cmd := exec.Command("go", "build", "-o", to, pkg)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// run measures one size.
func (b *bench) run() error {
	if err := os.MkdirAll(b.fleet(), 0o777); err != nil {
		return err
	}
	if err := create(b.fleet(), b.hosts); err != nil {
		return err
	}
	// One key for all: what is measured is the fleet.
	if err := b.quiet("key", "create", "all", "--use", "root,targets,snapshot,timestamp,package"); err != nil {
		return err
	}
	bins := max(16, 1<<bits.Len(uint(b.hosts/100-1))) // a hundred hosts in each
	if err := b.quiet("root", "init", "--bins", fmt.Sprint(bins)); err != nil {
		return err
	}
	if err := commit(b.fleet(), "Trust"); err != nil {
		return err
	}
	host, rule := filepath.Join("hosts", filepath.FromSlash(folders(b.hosts)[1].path), "hosts.cue"), filepath.Join("hosts", "rules.cue")
	steps := []struct {
		what  string
		edit  func() error
		check []string
	}{
		{"check, cold", nothing, []string{"check"}},
		{"check, nothing changed", nothing, []string{"check"}},
		{"check, one host's file changed", b.edit(host, `tier: "tier1"`, `tier: "tier2"`), []string{"check"}},
		{"check, one rule for all changed", b.edit(rule, ":9129", ":9229"), []string{"check"}},
		{"reconcile, the first release", nothing, []string{"reconcile", "--init"}},
		{"reconcile, nothing changed", nothing, []string{"reconcile"}},
		{"reconcile, one host's file changed", b.edit(host, `tier: "tier3"`, `tier: "tier4"`), []string{"reconcile"}},
		{"reconcile, nothing changed", nothing, []string{"reconcile"}},
		{"reconcile, one host's file changed, no cache", b.edit(host, `tier: "tier2"`, `tier: "tier0"`),
			[]string{"reconcile", "--cache-dir", ""}},
		{"reconcile, one rule for all changed", b.edit(rule, ":9229", ":9129"), []string{"reconcile"}},
	}
	for _, s := range steps {
		if err := s.edit(); err != nil {
			return err
		}
		if err := b.timed(s.what, b.command(s.check...)); err != nil {
			return err
		}
	}
	cue := exec.Command(b.cue, "export", "./hosts/...")
	cue.Dir = b.fleet()
	return b.timed("`cue export` of the folders", cue)
}

func nothing() error { return nil }

// edit is a step that replaces the first old in a file, and commits it.
func (b *bench) edit(file, old, new string) func() error {
	return func() error {
		name := filepath.Join(b.fleet(), file)
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte(old)) {
			return fmt.Errorf("%s has no %s", file, old)
		}
		if err := os.WriteFile(name, bytes.Replace(text, []byte(old), []byte(new), 1), 0o666); err != nil {
			return err
		}
		return commit(b.fleet(), "Change "+file)
	}
}

// command is a call of the program on this size's fleet, with its own keys, store and cache.
func (b *bench) command(args ...string) *exec.Cmd {
	cmd := exec.Command(b.bakehouse, args...)
	cmd.Dir = b.fleet()
	cmd.Env = append(os.Environ(), "BAKEHOUSE_PASSPHRASE_ALL=scale")
	for command, flags := range map[string][]string{"check": {"cache-dir"}, "key": {"key-dir"}, "root": {"key-dir"}, "reconcile": {"cache-dir", "key-dir", "store"}} {
		for _, name := range flags {
			if args[0] == command && !slices.Contains(args, "--"+name) {
				cmd.Args = append(cmd.Args, "--"+name, filepath.Join(b.home, name))
			}
		}
	}
	return cmd
}

func (b *bench) quiet(args ...string) error {
	if out, err := b.command(args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", args, err, out)
	}
	return nil
}

// timed runs a command and prints its line of the table.
func (b *bench) timed(what string, cmd *exec.Cmd) error {
	var log bytes.Buffer
	cmd.Stderr = &log
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", what, err, &log)
	}
	p := cmd.ProcessState
	memory := p.SysUsage().(*syscall.Rusage).Maxrss >> 10
	fmt.Printf("| %d | %s | %.2f s | %.2f s | %d MB |\n", b.hosts, what, wall.Seconds(), (p.UserTime() + p.SystemTime()).Seconds(), memory)
	return nil
}
