package versions

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"bakehouse/agent/install/ready"
	"bakehouse/agent/install/walk"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// replaced is the suffix under which a program that was copied here manually is kept when a package takes its place.
const replaced = ".before-bakehouse"

// tree is VersionDir and the links that lead into it. Paths of files are slash-separated without a leading slash.
type tree struct {
	sys     *Dir
	host    walk.Host // with the physical path of the system's root
	base    string    // physical path of VersionDir
	current string    // versions/NAME, or ""
	self    fs.FileInfo
	byHand  bool // see unpackedByHand
}

func (s *Dir) openTree() (*tree, error) {
	t := &tree{sys: s}
	var err error
	if t.host, err = walk.At(s.Root); err != nil {
		return nil, err
	}
	if t.base, err = t.host.Resolve(t.host.Path(schema.VersionDir)); err != nil {
		return nil, err
	}
	if t.current, err = currentOf(t.base); err != nil {
		return nil, err
	}
	if exe, err := os.Executable(); err == nil {
		t.self, _ = os.Stat(exe)
	}
	t.byHand = t.unpackedByHand()
	return t, nil
}

// place is where the link for a file goes and what it points to. Targets are relative, so that a root can be moved and
// used as a chroot, and relative to the directory's physical path: /lib may be a link to usr/lib.
func (t *tree) place(file string) (link, target string, err error) {
	p := t.host.Path(file)
	dir := filepath.Dir(p)
	have := ready.Existing(dir)
	phys, err := t.host.Resolve(have)
	if err != nil {
		return "", "", err
	}
	rest, err := filepath.Rel(have, dir)
	if err != nil {
		return "", "", err
	}
	link = filepath.Join(phys, rest, filepath.Base(p))
	target, err = filepath.Rel(filepath.Dir(link), filepath.Join(t.base, currentLink, filepath.FromSlash(file)))
	return link, target, err
}

// What stands at a place.
type occupant int

const (
	vacant  occupant = iota
	ours             // the link that place asks for
	byHand           // a plain file or a link of a package that was unpacked manually
	self             // this running program, copied there manually: a package may take its place
	foreign          // anything else
)

func (t *tree) occupied(link, target string) (occupant, error) {
	fi, err := t.host.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return vacant, nil
	case err != nil:
		return foreign, err
	case fi.Mode()&fs.ModeSymlink != 0:
		if to, err := t.host.Readlink(link); err != nil || to == target {
			return ours, err
		}
		if t.byHand {
			return byHand, nil
		}
	case fi.Mode().IsRegular() && t.byHand:
		return byHand, nil
	case fi.Mode().IsRegular() && t.self != nil && os.SameFile(fi, t.self):
		return self, nil
	}
	return foreign, nil
}

// checkPlace refuses a file whose place is taken by something else, or that would lie in our own directories.
func (t *tree) checkPlace(file string) error {
	for _, dir := range []string{schema.VersionDir, schema.StateDir(runtime.GOOS)} {
		if p := "/" + file; p == dir || strings.HasPrefix(p, dir+"/") {
			return fmt.Errorf("the package contains %s, which belongs to bakehouse-agent", p)
		}
	}
	link, target, err := t.place(file)
	if err != nil {
		return err
	}
	who, err := t.occupied(link, target)
	if err == nil && who == foreign {
		err = fault.Hint(fmt.Errorf("%s exists already and was not created by bakehouse-agent", link),
			"move it away or remove it from the package, then run the update again")
	}
	return err
}

// makeLinks links every file that has no link yet. Its undo removes those links again.
func (t *tree) makeLinks(files []string) (func() error, error) {
	var undo []func() error
	back := func() error {
		var errs []error
		for _, u := range undo {
			errs = append(errs, u())
		}
		return errors.Join(errs...)
	}
	for _, f := range files {
		link, target, err := t.place(f)
		if err != nil {
			return back, err
		}
		who, err := t.occupied(link, target)
		if err != nil {
			return back, err
		}
		switch who {
		case ours:
			continue
		case foreign:
			return back, fmt.Errorf("%s exists already and was not created by bakehouse-agent", link)
		case byHand: // adopt has put it into the version that current leads to
			kept := filepath.Join(t.base, byHandName, filepath.FromSlash(f))
			undo = append(undo, func() error { return t.duplicate(kept, link) })
		case self:
			if err := t.host.Link(link, link+replaced); err != nil && !errors.Is(err, fs.ErrExist) {
				return back, err
			}
			undo = append(undo, func() error { return t.host.Disk().Rename(link+replaced, link) })
		case vacant:
			if err := t.host.Disk().MkdirAll(filepath.Dir(link), 0o755); err != nil {
				return back, err
			}
			undo = append(undo, func() error { return t.removeIf(link, target) })
		}
		if err := t.host.Disk().Symlink(target, link); err != nil {
			return back, err
		}
	}
	return back, nil
}

// sweep removes what a switch left that died while it made links, beside the links of files.
func (t *tree) sweep(files []string) error {
	swept := map[string]bool{}
	for _, f := range files {
		link, _, err := t.place(f)
		if err != nil {
			return err
		}
		dir := filepath.Dir(link)
		if swept[dir] {
			continue
		}
		swept[dir] = true
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if !durable.IsTemp(e.Name()) || e.Type() != fs.ModeSymlink {
				continue
			}
			left := filepath.Join(dir, e.Name())
			to, err := t.host.Readlink(left)
			if err == nil && strings.HasPrefix(filepath.Join(dir, to), filepath.Join(t.base, currentLink)+"/") {
				if err := t.host.Remove(left); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// removeLinks removes the links of files, where they are still ours. Its undo makes them again.
func (t *tree) removeLinks(files []string) (func() error, error) {
	var gone []string
	undo := func() error { _, err := t.makeLinks(gone); return err }
	for _, f := range files {
		link, target, err := t.place(f)
		if err != nil {
			return undo, err
		}
		if who, err := t.occupied(link, target); err != nil {
			return undo, err
		} else if who != ours {
			continue
		}
		if err := t.removeIf(link, target); err != nil {
			return undo, err
		}
		gone = append(gone, f)
	}
	return undo, nil
}

func (t *tree) removeIf(link, target string) error {
	if to, err := t.host.Readlink(link); err != nil || to != target {
		return nil
	}
	return t.host.Remove(link)
}

// filesOf lists the files of an unpacked version, sorted; none for "".
func (t *tree) filesOf(version string) ([]string, error) {
	if version == "" {
		return nil, nil
	}
	var files []string
	err := fs.WalkDir(os.DirFS(filepath.Join(t.base, version)), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, p)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // current dangles: somebody removed the version; installing one repairs it
	}
	return files, err
}

// readLinks reads links.json. A missing or damaged record is no reason to stop: the running version's files are known.
func (t *tree) readLinks() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(t.base, linksFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var links []string
	if err := schema.Decode(b, &links); err != nil {
		return nil, nil
	}
	for _, l := range links {
		if !filepath.IsLocal(l) {
			return nil, nil
		}
	}
	return links, nil
}

func (t *tree) writeLinks(links []string) error {
	b, err := json.Marshal(links)
	if err != nil {
		return err
	}
	name := filepath.Join(t.base, linksFile)
	if had, err := os.ReadFile(name); err == nil && bytes.Equal(had, append(b, '\n')) {
		return nil
	}
	return durable.WriteFile(name, append(b, '\n'), 0o644)
}
