package versions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/install/ready"
	"bakehouse/schema"
	"bakehouse/schema/durable"
)

// Unpack unpacks p, whose bytes assemble writes, beside the version that runs, which is not touched. What has not
// changed since that is linked (present.go). All is durable when it returns, and all else that was written to the same
// file system before. It sets p's Unpacked and Files. If it fails, nothing is left.
func (s *Dir) Unpack(ctx context.Context, p *machine.Package, assemble func(io.Writer) error) error {
	if err := durable.MkdirAll(s.Path(schema.VersionDir+"/"+versionsDir), 0o755); err != nil {
		return fmt.Errorf("version directory: %w", err)
	}
	t, err := s.openTree()
	if err != nil {
		return err
	}
	if err := durable.Sweep(t.base); err != nil {
		return err
	}
	name, err := t.freeName(p)
	if err != nil {
		return err
	}
	p.Unpacked = name
	if err := t.unpack(ctx, p, assemble); err != nil {
		return errors.Join(err, os.RemoveAll(filepath.Join(t.base, name)))
	}
	return nil
}

func (t *tree) unpack(ctx context.Context, p *machine.Package, assemble func(io.Writer) error) error {
	dir := filepath.Join(t.base, p.Unpacked)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	x := extraction{dir: root, lim: defaultLimits, room: ready.Room(t.base)}
	if x.present, err = t.present(dir); err != nil {
		return err
	}
	defer x.present.close()
	r, w := io.Pipe()
	assembled := make(chan error, 1)
	go func() {
		err := assemble(w)
		w.CloseWithError(err)
		assembled <- err
	}()
	p.Files, err = x.extract(ctx, r)
	r.CloseWithError(err)
	if aerr := <-assembled; aerr != nil && (err == nil || errors.As(err, new(*schema.AlteredError))) {
		err = fmt.Errorf("assemble: %w", aerr)
	}
	if err != nil {
		return err
	}
	return x.sync(dir)
}

// freeName is the directory for a new version. What a crashed switch left under the name is removed; what runs is not
// touched, even if it is this very package.
func (t *tree) freeName(p *machine.Package) (string, error) {
	plain := versionName(p)
	for n := 1; ; n++ {
		name := filepath.Join(versionsDir, plain)
		if n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
		if name != t.current {
			return name, os.RemoveAll(filepath.Join(t.base, name))
		}
	}
}

// Discard removes what was unpacked, unless it is what runs.
func (s *Dir) Discard(p machine.Package) error {
	t, err := s.openTree()
	if err != nil || p.Unpacked == "" || p.Unpacked == t.current {
		return err
	}
	return os.RemoveAll(filepath.Join(t.base, p.Unpacked))
}
