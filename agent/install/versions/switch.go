// Package versions installs a tgz: VersionDir/versions/RECIPE-DIGEST8 holds the files (extract.go); every path of the
// package is a relative link through VersionDir/current; exchanging that one link is the commit point (switch.go,
// links.go). What was unpacked by hand is taken over at the first update (byhand.go).
package versions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/install/units"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// The files of VersionDir:
//
//	versions/RECIPE-DIGEST8[-N]/   one unpacked package; N when a damaged or running version has the plain name
//	versions/by-hand/              what was unpacked by hand, until the second update (byhand.go)
//	current                        relative link to the version that every path of the package leads through
//	links.json                     paths that may hold a link of ours: written before the first link of a version is
//	                               made, shortened after the last link of the old one is gone
const (
	versionsDir = "versions"
	currentLink = "current"
	linksFile   = "links.json"
)

// Of this system.
var (
	unitsFile   = schema.UnitsFile(runtime.GOOS)
	scriptsFile = schema.ScriptsFile(runtime.GOOS)
)

// Dir is the version directory of a system.
type Dir struct {
	machine.System

	fail func(step string, done bool) error // tests: called before and after each step of a switch
}

// step is one step of a switch. do is idempotent and says how to take it back; undo may be nil.
type step struct {
	name string
	do   func(context.Context) (undo func() error, err error)
}

// Install switches to the version that p is unpacked as. The exchange of the link current commits: before
// it the old version is what runs, after it the new one, and either is whole. If a step fails, those before it are
// taken back; after a crash the next run starts over and converges.
func (s *Dir) Install(ctx context.Context, p machine.Package) (machine.Revert, error) {
	t, err := s.openTree()
	if err != nil {
		return nil, err
	}
	v := &switching{tree: t, version: p.Unpacked, was: t.current}
	return v.run(ctx, s, []step{
		{"begin", v.begin},
		{"take", v.take},
		{"check", v.check},
		{"prepare", v.prepare},
		{"adopt", v.adopt},
		{"record", v.record},
		{"link", v.link},
		{"switch", v.exchange},
		{"unlink", v.unlink},
		{"forget", v.forget},
		{"settle", v.settle},
		{"units", v.sync},
		{"finish", v.finish},
	})
}

// switching is one switch under way.
type switching struct {
	tree *tree
	was  string // what current led to before anything was adopted

	version string   // versions/NAME of the new version, where it is unpacked
	files   []string // its files
	before  []string // links.json as it was
	units   []byte   // its unitsFile
	synced  func()   // takes the change of services back; nil before it
}

func (v *switching) run(ctx context.Context, s *Dir, steps []step) (machine.Revert, error) {
	var undo []func() error
	takeBack := func() error {
		var errs []error
		for _, u := range slices.Backward(undo) {
			errs = append(errs, u())
		}
		undo = nil
		return errors.Join(errs...)
	}
	for _, st := range steps {
		err := s.injected(st.name, false)
		if err == nil {
			var u func() error
			s.Debug("version switch", "step", st.name)
			u, err = st.do(ctx)
			if u != nil {
				undo = append(undo, u)
			}
		}
		if err == nil {
			err = s.injected(st.name, true)
		}
		if err != nil {
			if back := takeBack(); back != nil {
				err = &machine.TouchedError{Err: fmt.Errorf("%w; the rollback failed too: %w", err, back)}
			}
			return nil, fmt.Errorf("version switch, step %s: %w", st.name, err)
		}
	}
	return func(context.Context) error { return takeBack() }, nil
}

func (s *Dir) injected(step string, done bool) error {
	if s.fail == nil {
		return nil
	}
	return s.fail(step, done)
}

// begin does nothing; its undo comes last, when the old files are back in their places.
func (v *switching) begin(context.Context) (func() error, error) {
	return func() error {
		if v.synced != nil {
			v.synced()
		}
		return nil
	}, nil
}

func (v *switching) sync(ctx context.Context) (func() error, error) {
	had, err := units.Sync(ctx, &v.tree.sys.System, v.units)
	v.synced = func() {
		ctx := context.WithoutCancel(ctx)
		units.Sync(ctx, &v.tree.sys.System, had)
		if err := v.script(ctx, v.was, "services", "upgrade"); err != nil {
			v.tree.sys.Debug("the services of the version before", "error", err)
		}
	}
	// Elsewhere than on Linux the package knows how its services are started.
	undo := func() error {
		if v.was != "" {
			return nil
		}
		return v.script(context.WithoutCancel(ctx), v.version, "noservices", "remove")
	}
	return undo, errors.Join(err, v.script(ctx, v.version, "services", v.action()))
}

// take reads what the new version has.
func (v *switching) take(context.Context) (func() error, error) {
	files, err := v.tree.filesOf(v.version)
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("%s is gone", v.version)
	}
	if err != nil {
		return nil, err
	}
	v.files = files
	if slices.Contains(v.files, unitsFile[1:]) {
		v.units, err = os.ReadFile(filepath.Join(v.tree.base, v.version, unitsFile))
	}
	return nil, err
}

// check refuses before anything outside the version directory is touched.
func (v *switching) check(context.Context) (func() error, error) {
	for _, f := range v.files {
		if err := v.tree.checkPlace(f); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (v *switching) record(context.Context) (func() error, error) {
	before, err := v.tree.readLinks()
	if err != nil {
		return nil, err
	}
	// What the running version holds is added, so that a lost record costs nothing.
	running, err := v.tree.filesOf(v.tree.current)
	if err != nil {
		return nil, err
	}
	v.before = union(before, running)
	return func() error { return v.tree.writeLinks(v.before) }, v.tree.writeLinks(union(v.before, v.files))
}

func (v *switching) link(context.Context) (func() error, error) {
	if err := v.tree.sweep(union(v.before, v.files)); err != nil {
		return nil, err
	}
	return v.tree.makeLinks(settingsLast(v.files))
}

func (v *switching) exchange(context.Context) (func() error, error) {
	old := v.tree.current
	return func() error { return v.tree.lead(old) }, v.tree.lead(v.version)
}

func (v *switching) unlink(context.Context) (func() error, error) {
	gone := slices.DeleteFunc(slices.Clone(v.before), func(f string) bool {
		_, found := slices.BinarySearch(v.files, f)
		return found
	})
	return v.tree.removeLinks(gone)
}

func (v *switching) forget(context.Context) (func() error, error) {
	all := union(v.before, v.files)
	return func() error { return v.tree.writeLinks(all) }, v.tree.writeLinks(v.files)
}

// Prune removes versions once the one that runs is accepted: all others but that of the package before, and what was
// unpacked by hand if byHand. Failing to remove one harms nothing, so it is no error.
func (s *Dir) Prune(before *machine.Package, byHand bool) {
	t, err := s.openTree()
	if err != nil {
		return
	}
	entries, err := os.ReadDir(filepath.Join(t.base, versionsDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		name := filepath.Join(versionsDir, e.Name())
		kept := name == t.current || byHand && name == byHandName ||
			before != nil && strings.HasPrefix(e.Name(), versionName(before))
		if !kept {
			err := os.RemoveAll(filepath.Join(t.base, name))
			s.Debug("removed a version", "version", name, "error", err)
		}
	}
}

// versionName is the name of its version's directory, or the beginning of it.
func versionName(p *machine.Package) string {
	return fmt.Sprintf("%s-%s", p.Recipe, p.SHA256.Hex()[:8])
}

// Current returns the files of the version that current leads to, as absolute paths; none if there is no version.
func (s *Dir) Current() ([]string, error) {
	t, err := s.openTree()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	files, err := t.filesOf(t.current)
	for i, f := range files {
		files[i] = "/" + f
	}
	return files, err
}

func union(a, b []string) []string {
	u := slices.Concat(a, b)
	slices.Sort(u)
	return slices.Compact(u)
}

// currentOf reads the link current: "" if there is none, an error if it is not a link into versions.
func currentOf(base string) (string, error) {
	to, err := os.Readlink(filepath.Join(base, currentLink))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		link := filepath.Join(base, currentLink)
		return "", fault.Hint(fmt.Errorf("%s is not a link of bakehouse-agent: %w", link, err),
			"move it away and run the update again")
	case !filepath.IsLocal(to) || !strings.HasPrefix(to, versionsDir+"/") || strings.Count(to, "/") != 1:
		return "", fault.Hint(fmt.Errorf("%s points to %.200q, not into %s",
			filepath.Join(base, currentLink), to, versionsDir),
			"remove that link and run the update again")
	}
	return to, nil
}

// Version is that of the package that current leads to, if it is p; else where current leads, or "".
func (s *Dir) Version(p machine.Package) (string, error) {
	t, err := s.openTree()
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, plain := filepath.Base(t.current), versionName(&p)
	switch {
	case t.current == "":
		return "", nil
	case name == plain, strings.HasPrefix(name, plain+"-"): // the directory says which package it is
		return p.Version, nil
	}
	return "in " + t.current, nil
}

// Witness is what changes whenever Version may.
func (s *Dir) Witness() string { return s.Path(schema.VersionDir + "/" + currentLink) }

// Locate finds a file of the version that runs by its path. Where the package's link is not, the file is not, whatever
// lies there: "".
func (s *Dir) Locate() func(string) string {
	t, err := s.openTree()
	return func(path string) string {
		if err != nil {
			return ""
		}
		file := strings.TrimPrefix(path, "/")
		link, target, err := t.place(file)
		if err != nil {
			return ""
		}
		if to, err := t.host.Readlink(link); err != nil || to != target {
			return ""
		}
		return filepath.Join(t.base, currentLink, filepath.FromSlash(file))
	}
}
