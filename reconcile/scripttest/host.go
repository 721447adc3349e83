package scripttest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// host is the program `host DIR NAME`: the host's verifier, with its memory and anchor in DIR, on the store itself. It
// prints what it has verified and what it is given. The anchor is the first root of the repo where it is first called.
func host() {
	end("host", func(ctx context.Context, dir, name string) error {
		v, err := verify(ctx, dir, name)
		if err != nil {
			return err
		}
		if _, err := v.manifest(ctx, v.given.Candidates()[0]); err != nil {
			return err
		}
		root, timestamp := v.Versions()
		fmt.Printf("root %d, timestamp %d, release %d, package %s\n",
			root, timestamp, v.given.Release, v.given.SHA256.Short())
		return nil
	})
}

// end runs a program that is called with DIR NAME, and exits.
func end(program string, run func(ctx context.Context, dir, name string) error) {
	err := run(context.Background(), os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: error: %v\n%s: hint: %s\n", program, err, program, fault.HintOf(err))
	}
	os.Exit(fault.ExitCode(err))
}

// verified is what a host knows once it has verified the newest metadata.
type verified struct {
	*trust.Client
	store store.Store
	given *schema.Assignment
}

func verify(ctx context.Context, dir, name string) (*verified, error) {
	anchor, err := os.ReadFile(filepath.Join(dir, "anchor.json"))
	if err != nil {
		if anchor, err = os.ReadFile("trust/1.root.json"); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "anchor.json"), anchor, 0o600); err != nil {
			return nil, err
		}
	}
	st, err := stores.OpenExisting(ctx, os.Getenv("BAKEHOUSE_STORE"))
	if err != nil {
		return nil, err
	}
	c, err := trust.Open(filepath.Join(dir, "state"), anchor, nil)
	if err != nil {
		return nil, err
	}
	src := store.Source(st, func(ctx context.Context) (int64, error) { return store.Head(ctx, st) })
	if err := c.Refresh(ctx, src, nil); err != nil {
		return nil, err
	}
	a, err := c.Assignment(ctx, src, name)
	return &verified{c, st, a}, err
}

// manifest reads the manifest of a package that the host is given.
func (v *verified) manifest(ctx context.Context, c schema.Candidate) (*schema.Manifest, error) {
	packed, err := store.Read(ctx, v.store, schema.ManifestKey(c.Manifest), schema.MaxManifest)
	if err != nil {
		return nil, err
	}
	m, err := schema.DecodeManifest(packed, c.Manifest)
	if err == nil && !v.HasRoot(m.Anchor) {
		err = fmt.Errorf("package %s is of anchor %s, which this host has never verified",
			c.SHA256.Short(), m.Anchor.Short())
	}
	return m, err
}
