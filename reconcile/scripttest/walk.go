package scripttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"

	"github.com/rogpeppe/go-internal/testscript"
)

var shellBlock = regexp.MustCompile("(?s)\n```sh\n(.*?)```")

// walk SECTION runs the commands of a section of examples/root/README.md in bash, each of which must succeed.
func walk(ts *testscript.TestScript, neg bool, args []string) {
	b, err := os.ReadFile(filepath.Join(state(ts).dir, "examples/root/README.md"))
	ts.Check(err)
	_, section, ok := strings.Cut(string(b), "\n## "+args[0]+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := shellBlock.FindAllStringSubmatch(section, -1)
	if !ok || len(blocks) == 0 {
		ts.Fatalf("examples/root/README.md has no section %q with commands", args[0])
	}
	for _, block := range blocks {
		commands := strings.ReplaceAll(block[1], "/srv/bakehouse", ts.Getenv("BAKEHOUSE_STORE"))
		ts.Check(ts.Exec("bash", "-exc", commands))
	}
}

// host is the program `host DIR NAME`: the host's verifier, with its memory and anchor in DIR, on the store itself. It prints what
// it has verified and what it is given. The anchor is the first root of the repo in which it is first called.
func host() {
	err := func() error {
		ctx, dir, name := context.Background(), os.Args[1], os.Args[2]
		anchor, err := os.ReadFile(filepath.Join(dir, "anchor.json"))
		if err != nil {
			if anchor, err = os.ReadFile("trust/1.root.json"); err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, "anchor.json"), anchor, 0o600); err != nil {
				return err
			}
		}
		st, err := store.OpenExisting(ctx, os.Getenv("BAKEHOUSE_STORE"))
		if err != nil {
			return err
		}
		c, err := trust.Open(filepath.Join(dir, "state"), anchor, nil)
		if err != nil {
			return err
		}
		src := store.Source(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
		if err := c.Refresh(ctx, src, nil); err != nil {
			return err
		}
		a, err := c.Assignment(ctx, src, name)
		if err != nil {
			return err
		}
		packed, err := store.Read(ctx, st, schema.ManifestKey(a.Manifest), schema.MaxManifest)
		if err != nil {
			return err
		}
		m, err := schema.DecodeManifest(packed, a.Manifest)
		if err != nil {
			return err
		}
		if !c.HasRoot(m.Anchor) {
			return fmt.Errorf("package %s is of anchor %s, which this host has never verified", a.SHA256.Short(), m.Anchor.Short())
		}
		root, timestamp := c.Versions()
		fmt.Printf("root %d, timestamp %d, release %d, package %s\n", root, timestamp, a.Release, a.SHA256.Short())
		return nil
	}()
	if err != nil {
		fmt.Fprintf(os.Stderr, "host: error: %v\nhost: hint: %s\n", err, fault.HintOf(err))
	}
	os.Exit(fault.ExitCode(err))
}
