package scripttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"bakehouse/agent/trust/statement"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/serve/store"
)

// running is what a host runs: the package, and what that says of whose signatures count.
type running struct {
	Package schema.Digest
	Release int64
	Config  *schema.AgentConfig
}

// updater is the program `updater DIR NAME`: a host that decides as the host program does, and installs a package if
// the one that it runs accepts the signatures on it. DIR remembers what it runs; the first is installed manually.
func updater() {
	end("updater", func(ctx context.Context, dir, name string) error {
		v, err := verify(ctx, dir, name)
		if err != nil {
			return err
		}
		file := filepath.Join(dir, "running.json")
		var runs running
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &runs)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		d := v.Policy().Decide(v.given, schema.Standing{Installed: runs.Package, Release: runs.Release}, time.Now())
		if !d.Install() {
			fmt.Printf("%s: runs package %s\n", d.Code, runs.Package.Short())
			return nil
		}
		next, err := v.install(ctx, d.Package, runs.Config)
		if err != nil {
			return err
		}
		if b, err = json.Marshal(next); err != nil {
			return err
		}
		fmt.Printf("installed: runs package %s\n", next.Package.Short())
		return os.WriteFile(file, b, 0o600)
	})
}

func (v *verified) install(ctx context.Context, c schema.Candidate, by *schema.AgentConfig) (*running, error) {
	m, err := v.manifest(ctx, c)
	if err != nil {
		return nil, err
	}
	if by != nil {
		envelopes, err := statements(ctx, v.store, c.Manifest)
		if err != nil {
			return nil, err
		}
		want := schema.StatementFor(m, c.Manifest)
		if _, err := statement.Verify(envelopes, want, by.Keys, by.Threshold); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	if err := m.Assemble(&b, publish.Segments(ctx, v.store)); err != nil {
		return nil, err
	}
	files, err := contents.List(m.Format, &b)
	if err != nil {
		return nil, err
	}
	config, err := schema.DecodeAgentConfig(contents.Config(files))
	return &running{c.SHA256, c.Release, config}, err
}

// statements reads the signatures on the package of a manifest.
func statements(ctx context.Context, st store.Store, manifest schema.Digest) (envelopes [][]byte, err error) {
	for e, err := range st.List(ctx, schema.StatementsPrefix(manifest), "") {
		if err != nil {
			return nil, err
		}
		b, err := store.Read(ctx, st, e.Key, schema.MaxStatement)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, b)
	}
	return envelopes, nil
}
