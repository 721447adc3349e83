// Package staging puts packages together from the segments that a host keeps, just before they are installed. Every
// byte is digested on the way, before anything of it is read.
package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/agent/install"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Package is a package put together, in a directory that only we can enter.
type Package struct {
	install.Package
	remove func() error
}

// Remove removes what was put together, unless it is what runs. What stays goes with the next package.
func (p *Package) Remove() { _ = p.remove() }

// Segment opens a segment.
type Segment func(ref schema.SegmentRef) (io.ReadCloser, error)

// Stage puts the package of m together: as a file in dir, or, where no package manager asks for that, unpacked.
func Stage(ctx context.Context, on *install.System, dir string, m *schema.Manifest, open Segment) (*Package, error) {
	// Whatever an earlier run left there is of no use to anybody.
	if err := durable.RemoveAll(dir); err != nil {
		return nil, err
	}
	p := &Package{Package: install.Package{SHA256: m.SHA256, Size: m.Size, Name: m.Name, Version: m.Version,
		Recipe: m.Recipe, Format: m.Format}}
	if m.Format == schema.Tgz {
		if err := p.unpack(ctx, on, m, open); err != nil {
			return nil, err
		}
		return p, nil
	}
	if err := p.assemble(dir, m, open); err != nil {
		return nil, fmt.Errorf("assemble: %w", err)
	}
	var err error
	if p.Files, err = on.Contents(ctx, p.Package); err != nil {
		p.Remove()
		return nil, fault.Refuse(err, "the package is signed but malformed: bake it again with a current bakehouse")
	}
	return p, nil
}

func (p *Package) unpack(ctx context.Context, on *install.System, m *schema.Manifest, open Segment) error {
	if err := m.Assemble(io.Discard, open); err != nil {
		return fmt.Errorf("assemble: %w", err)
	}
	p.remove = func() error { return on.Discard(p.Package) }
	return on.Unpack(ctx, &p.Package, func(w io.Writer) error { return m.Assemble(w, open) })
}

// assemble writes the package's file.
func (p *Package) assemble(dir string, m *schema.Manifest, open Segment) error {
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	p.File = filepath.Join(dir, m.SHA256.Hex()+"."+string(m.Format))
	p.remove = func() error { return os.Remove(p.File) }
	f, err := os.OpenFile(p.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = m.Assemble(f, open); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		p.Remove()
	}
	return err
}
