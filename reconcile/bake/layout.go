package bake

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/schema/keeps"
)

// layout is what goes into a package, in order, for any format.
type layout struct {
	name, version string
	fleet         string // its name, if the package carries the updater's settings
	server        string // the URL in those settings
	programs      string // version of the host program; of none 0.0.0
	program       bool   // the host program is in it
	recipe        *rules.Recipe
	dirCount      int
	directories   []*file   // that plugins have
	shared        [][]*file // directories, files per plugin, what every package of the fleet has, the updater's settings
	own           []*file   // config last
	units         []unit
	scripts       []script
	accounts      accounts
	relations     []fleet.Relations // of each plugin
}

// script is one plugin's part of a maintainer script.
type script struct{ plugin, step, text string }

// configDir is where files are that are settings: they come last of all, so that whatever reads them is there first.
const configDir = "/etc/"

func (b *Baker) layout(r *rules.Recipe, anchor schema.Digest) (*layout, error) {
	l := &layout{name: fleet.PackageName, programs: "0.0.0", recipe: r}
	var all, common []*file
	updater := ""
	health := []schema.HealthCheck{}
	var kept []keeps.Keeps
	for _, o := range slices.SortedFunc(slices.Values(r.Outputs), func(a, b *fleet.Output) int { return cmp.Compare(a.Plugin, b.Plugin) }) {
		var shared []*file
		for _, ff := range o.Files {
			f, err := b.file(o.Plugin, ff, r.Platform)
			if err != nil {
				return nil, fmt.Errorf("plugin %s: file %.200q: %w", o.Plugin, ff.Path, err)
			}
			if f.mode.IsDir() {
				l.directories = append(l.directories, f)
				continue
			}
			all = append(all, f)
			l.program = l.program || ff.Program
			switch {
			case ff.Path == schema.AnchorFile(r.Platform.OS):
				common = append(common, f)
			case ff.Shared():
				shared = append(shared, f)
			default:
				l.own = append(l.own, f)
			}
			switch ff.Path {
			case schema.ConfigFile(r.Platform.OS):
				updater = o.Plugin
				if err := l.settings(ff); err != nil {
					return nil, fmt.Errorf("plugin %s: file %s: %w", o.Plugin, ff.Path, err)
				}
			case schema.AnchorFile(r.Platform.OS):
				if ff.SHA256 != anchor {
					return nil, fmt.Errorf("plugin %s: file %s is not the anchor root %s", o.Plugin, ff.Path, anchor)
				}
			}
		}
		if len(shared) > 0 {
			slices.SortFunc(shared, byPath)
			l.shared = append(l.shared, shared)
		}
		if err := l.services(o); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", o.Plugin, err)
		}
		if o.Health != nil {
			h := *o.Health
			h.Plugin, h.Units = o.Plugin, l.unitsOf(o.Plugin)
			health = append(health, h)
		}
		if o.Keeps != nil {
			k := *o.Keeps
			k.Plugin, k.Units = o.Plugin, l.unitsOf(o.Plugin)
			kept = append(kept, k)
		}
		l.accounts.add(o)
		l.relations = append(l.relations, o.Relations)
		for _, step := range fleet.Steps {
			if text := o.Scripts[step]; text != "" {
				l.scripts = append(l.scripts, script{o.Plugin, step, text})
			}
		}
	}
	for _, u := range l.units {
		if u.path == "" { // a table has it
			continue
		}
		l.own = append(l.own, inline(u.plugin, u.path, []byte(u.text)))
	}
	if !l.accounts.none() {
		l.own = append(l.own, inline(madeHere, sysusersFile, []byte(l.accounts.sysusers())))
	}
	l.own = append(l.own, inline(madeHere, schema.UnitsFile(r.Platform.OS), unitList(l.units)))
	checks, err := json.Marshal(health)
	if err != nil {
		return nil, err
	}
	l.own = append(l.own, inline(madeHere, schema.HealthFile(r.Platform.OS), append(checks, '\n')))
	if len(kept) > 0 {
		names, err := json.Marshal(kept)
		if err != nil {
			return nil, err
		}
		l.own = append(l.own, inline(madeHere, schema.KeepsFile(r.Platform.OS), append(names, '\n')))
	}
	docs := docs(l)
	common = append(common, docs...)
	all = slices.Concat(all, l.own, docs)
	slices.SortFunc(l.own, configLast)
	seen := map[string]*file{}
	for _, f := range all {
		if o := seen[f.path]; o != nil && o != f {
			return nil, fmt.Errorf("plugins %s and %s both have a file %s", o.plugin, f.plugin, f.path)
		}
		seen[f.path] = f
	}
	slices.SortStableFunc(l.directories, byPath)
	l.directories = slices.CompactFunc(l.directories, func(a, b *file) bool { return a.path == b.path })
	dirs, err := dirsOf(all, l.directories)
	if err != nil {
		return nil, err
	}
	l.dirCount = len(dirs)
	l.shared = slices.Insert(l.shared, 0, dirs)
	// What else many packages have in common without being a plugin's shared files would be a kilobyte in each of them: the
	// anchor root, which is the fleet's, with the documentation, and the updater's settings, which are a site's.
	settings, own := partition(l.own, func(f *file) bool { return f.plugin == updater })
	l.own = own
	for _, files := range [][]*file{common, settings} {
		if len(files) > 0 {
			l.shared = append(l.shared, files)
		}
	}
	l.version = l.programs + "+" + string(r.ID)
	return l, nil
}

// configLast orders a package's own files.
func configLast(a, b *file) int {
	config := func(f *file) int {
		if strings.HasPrefix(f.path, configDir) {
			return 1
		}
		return 0
	}
	return cmp.Or(config(a)-config(b), byPath(a, b))
}

func partition(files []*file, first func(*file) bool) (yes, no []*file) {
	for _, f := range files {
		if first(f) {
			yes = append(yes, f)
		} else {
			no = append(no, f)
		}
	}
	return yes, no
}

func byPath(a, b *file) int { return cmp.Compare(a.path, b.path) }

// settings takes the package's version from the updater's settings, which the host will read.
func (l *layout) settings(f fleet.File) error {
	c, err := schema.DecodeAgentConfig(f.Content)
	if err != nil {
		return err
	}
	if c.Package != l.name {
		return fmt.Errorf("names the package %q, it is called %s", c.Package, l.name)
	}
	if err := fleet.CheckVersion(c.Version); err != nil {
		return fault.Hint(err, "`bakehouse upgrade` pins a version that is right in every package format")
	}
	l.programs, l.fleet, l.server = c.Version, c.Fleet, c.Server
	return nil
}

func (b *Baker) file(plugin string, f fleet.File, p schema.Platform) (*file, error) {
	if err := checkPath(f.Path); err != nil {
		return nil, err
	}
	if kind := f.Mode &^ fs.ModePerm; kind != 0 && kind != fs.ModeDir && kind != fs.ModeSymlink {
		return nil, fmt.Errorf("mode %v is more than permissions of a file, directory or link", f.Mode)
	}
	if f.SHA256.IsZero() {
		return nil, errors.New("has no digest")
	}
	if !f.Regular() {
		return &file{plugin: plugin, path: f.Path, mode: f.Mode, link: f.Link, owner: f.Owner, group: f.Group,
			sum: f.SHA256}, nil
	}
	open := func() (io.ReadCloser, error) { return b.sources.Open(f, p) }
	size := f.Size
	if !f.Shared() {
		open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Content)), nil }
		size = int64(len(f.Content))
	}
	return &file{plugin: plugin, path: f.Path, mode: f.Mode, owner: f.Owner, group: f.Group,
		caps: f.Capabilities, size: size, sum: f.SHA256, vouched: f.ByProvenance(), open: open}, nil
}

// inline is a file that bake itself makes.
func inline(plugin, path string, content []byte) *file {
	return &file{plugin: plugin, path: path, mode: 0o644, size: int64(len(content)), sum: sha256.Sum256(content),
		open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// checkPath refuses what an archive, md5sums or a unit could carry but not mean.
func checkPath(p string) error {
	switch {
	case !strings.HasPrefix(p, "/") || p == "/" || path.Clean(p) != p:
		return errors.New("is not an absolute, clean path")
	case strings.ContainsFunc(p, control):
		return errors.New("has a control character in its path")
	case len(p) > 4000:
		return errors.New("has too long a path")
	case slices.ContainsFunc(strings.Split(p, "/"), func(name string) bool { return len(name) > 246 }):
		return errors.New("has a name of more than 246 bytes in its path: dpkg and rpm unpack to one that is 9 longer, and 255 is all")
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }
