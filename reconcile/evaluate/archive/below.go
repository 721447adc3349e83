package archive

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/schema"
)

// Node is what lies below a folder of an archive.
type Node struct {
	Name   string      // below the folder
	Mode   fs.FileMode // fs.ModeDir, fs.ModeSymlink, or for a regular file 0o755 if somebody may execute it, else 0o644
	Link   string      // where a symbolic link leads, as the archive writes it
	Member *Member     // of a regular file
}

// Below lists a folder, "" being the whole archive, in order of names. Its error is a *MissingError if there is none.
func (t *Table) Below(dir string) (nodes []Node, err error) {
	dir = Clean(dir)
	names := map[string]bool{}
	for i := range t.entries {
		e := &t.entries[i]
		rest, ok := e.name, true
		if dir != "" {
			rest, ok = strings.CutPrefix(e.name, dir+"/")
		}
		if !ok || rest == "" || e.kind == directory && names[rest] {
			continue
		}
		if t.twice[e.name] {
			return nil, fmt.Errorf("the archive has %q twice", e.name)
		}
		names[rest] = true
		n := Node{Name: rest}
		switch e.kind {
		case directory:
			n.Mode = fs.ModeDir
		case symlink:
			n.Mode, n.Link = fs.ModeSymlink, e.link
		case regular, hardlink:
			if n.Member, err = t.Find(e.name); err != nil {
				return nil, err
			}
			if n.Mode = 0o644; e.exec {
				n.Mode = 0o755
			}
		default:
			return nil, fmt.Errorf("%q is no regular file, directory or link", e.name)
		}
		nodes = append(nodes, n)
	}
	if len(nodes) == 0 {
		return nil, t.missing(dir)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	links := map[string]bool{}
	for _, n := range nodes {
		for up := path.Dir(n.Name); up != "."; up = path.Dir(up) {
			if links[up] {
				return nil, fmt.Errorf("the archive has %q, but %q is a link", n.Name, up)
			}
		}
		links[n.Name] = n.Link != ""
	}
	return nodes, nil
}

// Piece is where the bytes of a member lie in what CopyAll wrote.
type Piece struct{ At, Size int64 }

// CopyAll writes all regular members of the archive, one behind another, and says by name where each lies. What it
// wrote is wrong if it fails.
func (t *Table) CopyAll(ctx context.Context, dst io.Writer, r io.ReaderAt, size int64) (map[string]Piece, error) {
	what, w, err := open(ctx, r, size, defaultBounds)
	if err != nil {
		return nil, err
	}
	defer w.close()
	pieces, at := map[string]Piece{}, int64(0)
	for i := range t.entries {
		it, err := w.next()
		if err != nil {
			return nil, wrong(what, err)
		}
		e := &t.entries[i]
		if it.kind != regular || e.kind != regular {
			continue
		}
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(w, e.size+1))
		if err != nil {
			return nil, wrong(what, err)
		}
		if n != e.size || schema.Digest(h.Sum(nil)) != e.sum {
			return nil, fmt.Errorf("member %q changed while it was read", e.name)
		}
		pieces[e.name] = Piece{at, n}
		at += n
	}
	return pieces, nil
}
