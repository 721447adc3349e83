package bake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"bakehouse/reconcile/bake/msi"
	"bakehouse/reconcile/bake/msi/cab"
	"bakehouse/reconcile/bake/msi/cfb"
	"bakehouse/reconcile/services"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// msi makes a package for Windows Installer. Groups of files are cabinets, each a segment; what lies between them and
// the package's own end is one more, the same in all packages with these plugins.
func (b *Baker) msi(ctx context.Context, l *layout, baked *Baked) ([]part, error) {
	p := &msi.Package{Name: l.name, Maker: maintainer(l), Version: l.version, Recipe: l.recipe.ID,
		Platform: l.recipe.Platform, Bake: Version, Updater: l.fleet != ""}
	p.Title, p.About = description(l)
	for _, d := range l.directories {
		p.Folders = append(p.Folders, msi.Folder{Plugin: d.plugin, Path: d.path})
	}
	for _, o := range l.recipe.Outputs {
		for _, s := range sortedServices(o) {
			w, err := services.Windows(s)
			if err != nil { // rules have warned of it
				continue
			}
			p.Services = append(p.Services, msi.Service{Plugin: o.Plugin, Name: w.Name, Description: w.Description,
				Program: w.Program, Start: w.Start, Wait: o.Plugin == fleet.UpdaterPlugin, Arguments: p.Formatted(
					w.Arguments, map[string]string{services.ProgramFiles: schema.WindowsPrograms,
						services.ProgramData: schema.WindowsData})})
		}
	}
	var cabinets []*segment
	for _, files := range l.shared[1:] { // without directories: a table has them
		g, err := b.segment(ctx, b.segments.cabinet(files), baked)
		if err != nil {
			return nil, err
		}
		cabinets = append(cabinets, g)
		p.Shared = append(p.Shared, msi.Cabinet{Size: g.ref.Size, Digest: g.ref.Digest, Files: msiFiles(files, g.sums)})
		baked.list(g.ref.Digest, files, g.sums)
	}
	var own bytes.Buffer
	last, err := cabinet(ctx, &own, l.own, cab.Sizes{Least: msi.OwnStep, Step: msi.OwnStep}, &bytes.Buffer{})
	if err != nil {
		return nil, err
	}
	baked.list(schema.Digest{}, l.own, last)
	p.OwnBytes = own.Bytes()
	p.Own = &msi.Cabinet{Size: int64(own.Len()), Digest: schema.DigestOf(own.Bytes()), Files: msiFiles(l.own, last)}
	f, err := p.Build()
	if err != nil {
		return nil, err
	}
	s := &stream{}
	for i, piece := range [][]byte{f.Header, f.Table, f.Common} {
		if i == 1 {
			for _, g := range cabinets {
				s.place(g)
			}
		}
		if len(piece) == 0 {
			continue
		}
		g, err := b.segment(ctx, plainPayload(piece), baked)
		if err != nil {
			return nil, err
		}
		s.place(g)
	}
	s.write(f.Own)
	return s.parts, nil
}

func msiFiles(files []*file, sums []fileSum) (out []msi.File) {
	for i, f := range files {
		out = append(out, msi.File{Plugin: f.plugin, Path: f.path, Size: sums[i].size, MD5: sums[i].md5,
			Private: f.mode&0o077 == 0})
	}
	return out
}

// cabinet is the cabinet of files that packages share, padded to whole sectors.
func (s *segments) cabinet(files []*file) payload {
	h := sha256.New()
	fmt.Fprintln(h, "cabinet")
	for _, f := range files {
		fmt.Fprintf(h, "%q %s\n", msi.Key(f.path), f.sum)
	}
	return payload{identity: schema.Digest(h.Sum(nil)), plain: true,
		write: func(ctx context.Context, w io.Writer) (sums []fileSum, err error) {
			blocks := s.newPrivate()
			defer func() { err = errors.Join(err, blocks.Close()) }()
			return cabinet(ctx, w, files, cab.Sizes{Least: msi.SharedLeast, Step: cfb.SectorSize}, blocks)
		}}
}

// cabinet writes files as a cabinet, and checks every file on the way.
func cabinet(ctx context.Context, w io.Writer, files []*file, sizes cab.Sizes, blocks cab.Spool) ([]fileSum, error) {
	sums := make([]fileSum, len(files))
	var members []cab.File
	for i, f := range files {
		members = append(members, cab.File{Name: msi.Key(f.path), Write: func(w io.Writer) error {
			size, err := f.measure()
			if err == nil {
				sums[i], err = copyFile(w, f, size)
			}
			if err != nil {
				return fmt.Errorf("plugin %s: file %s: %w", f.plugin, f.path, err)
			}
			return nil
		}})
	}
	return sums, cab.Write(ctx, w, members, sizes, blocks)
}
