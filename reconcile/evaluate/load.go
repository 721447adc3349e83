package evaluate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"cuelang.org/go/cue"

	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// loader collects what the directories yield.
type loader struct {
	fsys  fs.FS
	l     limits
	cache *Cache
	fleet *fleet.Fleet
	ps    fleet.Problems

	plugins    map[string]*plugin
	sources    *sources
	hosts      map[string]*fleet.Host // by name in lower case
	former     []formerName
	sites      map[string]fleet.Pos // where they are written
	inherited  map[*fleet.Folder]inherited
	used       map[*fleet.Condition]bool
	places     map[string]map[string]fleet.Pos // of what conditions and attributes refer to, by kind and name
	references []reference
	salvaged   []*salvaged
	wanted     map[string]bool // plugins that rules are about
	failed     map[string]bool // plugins that did not evaluate
	unread     map[string]bool // definitions of the schema with a directory that did not evaluate
}

// job is a directory to evaluate. take reads the result into the loader, one job at a time, in order of paths.
type job struct {
	fsys       fs.FS // nil: the repo
	path       string
	entries    []fs.DirEntry
	definition string
	loose      bool   // values may depend on what is filled in later
	plugin     string // the name of the plugin, if it is one
	take       func(*evaluated, *node)

	dir  *dir
	done *evaluated
	node *node // unless loose
	ps   fleet.Problems
}

func newLoader(fsys fs.FS, l limits) *loader {
	return &loader{fsys: fsys, l: l, fleet: &fleet.Fleet{
		AnchorVersion: 1, Programs: map[schema.Platform]fleet.Program{}, Keys: map[string]*fleet.Key{}, Folders: map[string]*fleet.Folder{},
		Plugins: map[string]*fleet.Plugin{}, Sites: map[string]schema.Site{},
		Access: schema.Access{Schema: accessSchema, Users: map[string]schema.User{}},
	}, plugins: map[string]*plugin{}, sources: newSources(fsys), hosts: map[string]*fleet.Host{}, sites: map[string]fleet.Pos{},
		inherited: map[*fleet.Folder]inherited{}, used: map[*fleet.Condition]bool{},
		wanted: map[string]bool{}, failed: map[string]bool{}, unread: map[string]bool{}}
}

func load(ctx context.Context, fsys fs.FS, l limits, c *Cache) (*Repo, error) {
	ld := newLoader(fsys, l)
	ld.cache, ld.sources.cache = c, c
	jobs, err := ld.discover()
	if err != nil {
		return nil, err
	}
	if err := ld.evaluate(ctx, jobs); err != nil {
		return nil, err
	}
	// Which of the shipped plugins are needed is known now.
	if err := ld.evaluate(ctx, ld.shippedJobs()); err != nil {
		return nil, err
	}
	ld.finish()
	if err := ld.ps.Err(); err != nil {
		return nil, err
	}
	ld.fleet.Warnings = ld.fleet.Warnings.Sorted()
	return &Repo{ld.fleet, ld.plugins}, nil
}

// evaluate runs the jobs and takes what they yield.
func (ld *loader) evaluate(ctx context.Context, jobs []*job) error {
	ld.run(ctx, jobs)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	ld.clauses(jobs)
	for _, j := range jobs {
		ld.ps = append(ld.ps, j.ps...)
		switch {
		case j.dir == nil && len(j.ps) == 0:
			j.take(nil, nil) // no CUE files
		case j.done != nil && !j.done.broken:
			j.take(j.done, j.node)
		case j.plugin != "":
			ld.failed[j.plugin] = true
		default:
			ld.unread[j.definition] = true
			if j.definition == "#Folder" && j.node != nil {
				ld.salvage(j.node)
			}
		}
	}
	return nil
}

// discover lists the directories to evaluate, in the order in which they are taken: the top first, then by path.
func (ld *loader) discover() ([]*job, error) {
	top, err := fs.ReadDir(ld.fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the config repo: %w", err)
	}
	if !slices.ContainsFunc(top, func(e fs.DirEntry) bool { return e.Name() == "fleet.cue" }) {
		return nil, fault.Hint(errors.New("fleet.cue: no such file, so this is no config repo"), "`bakehouse init DIR` makes one")
	}
	jobs := []*job{{path: ".", entries: top, definition: "#Root", take: ld.takeRoot}}
	for _, e := range top {
		name := e.Name()
		if name[0] == '.' || !e.IsDir() {
			if slices.Contains([]string{"hosts", "keys", "plugins", "sites", "trust"}, name) {
				ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a folder", Hint: "symbolic links are not followed"})
			}
			continue
		}
		switch name {
		case "keys":
			jobs = append(jobs, &job{path: name, entries: ld.readDir(name), definition: "#Keys", take: ld.takeKeys})
		case "sites":
			jobs = append(jobs, &job{path: name, entries: ld.readDir(name), definition: "#Sites", take: ld.takeSites})
		case "hosts":
			jobs = ld.discoverFolders(jobs, name, nil)
		case "plugins":
			jobs = append(jobs, ld.discoverPlugins(name)...)
		case "trust", "cue.mod":
		default:
			for _, f := range ld.readDir(name) {
				if isCUE(f.Name()) {
					ld.warn(fleet.Problem{Pos: fleet.Pos{File: path.Join(name, f.Name())}, Msg: "nothing reads this file",
						Hint: fleet.Nearest("did you mean the folder %s/?", name, []string{"hosts", "keys", "plugins", "sites"})})
				}
			}
		}
	}
	if ld.fleet.Folders[""] == nil {
		ld.fleet.Folders[""] = &fleet.Folder{}
	}
	return jobs, nil
}

func (ld *loader) discoverFolders(jobs []*job, dir string, parent *fleet.Folder) []*job {
	folder := &fleet.Folder{Path: strings.TrimPrefix(strings.TrimPrefix(dir, "hosts"), "/"), Parent: parent}
	ld.fleet.Folders[folder.Path] = folder
	entries := ld.readDir(dir)
	jobs = append(jobs, &job{path: dir, entries: entries, definition: "#Folder", take: func(_ *evaluated, n *node) { ld.takeFolder(folder, n) }})
	for _, e := range entries {
		switch name := path.Join(dir, e.Name()); {
		case e.Name()[0] == '.' || e.Name()[0] == '_':
		case e.Type()&fs.ModeSymlink != 0 && !isCUE(e.Name()):
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is a symbolic link", Hint: "symbolic links are not followed: put the folder itself here"})
		case e.IsDir():
			jobs = ld.discoverFolders(jobs, name, folder)
		}
	}
	return jobs
}

func (ld *loader) discoverPlugins(dir string) []*job {
	var jobs []*job
	for _, e := range ld.readDir(dir) {
		name := path.Join(dir, e.Name())
		p := &plugin{Plugin: &fleet.Plugin{Name: e.Name(), Home: name}, l: ld.l, sources: ld.sources}
		switch {
		case e.Name()[0] == '.' || e.Name()[0] == '_':
			continue
		case !e.IsDir():
			if isCUE(e.Name()) || e.Type()&fs.ModeSymlink != 0 {
				ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a folder", Hint: "a plugin is a folder: plugins/NAME/plugin.cue"})
			}
			continue
		case schema.CheckName(p.Name) != nil || p.Name == fleet.HostAttributes:
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: fmt.Sprintf("%q cannot be the name of a plugin", p.Name)})
			continue
		case p.Name == fleet.UpdaterPlugin:
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "the plugin updater is shipped with bakehouse and cannot be replaced"})
			continue
		}
		jobs = append(jobs, ld.pluginJob(ld.fsys, ld.readDir(name), p))
	}
	return jobs
}

func (ld *loader) pluginJob(fsys fs.FS, entries []fs.DirEntry, p *plugin) *job {
	return &job{fsys: fsys, path: p.Home, entries: entries, definition: "#PluginDir", loose: true, plugin: p.Name, take: func(e *evaluated, _ *node) {
		ld.ps = append(ld.ps, p.take(e)...)
		ld.fleet.Plugins[p.Name], ld.plugins[p.Name] = p.Plugin, p
	}}
}

// shippedJobs are the plugins that come with the tool, that rules are about and that the repo does not replace.
func (ld *loader) shippedJobs() (jobs []*job) {
	for _, name := range ShippedNames() {
		if !ld.wanted[name] || ld.fleet.Plugins[name] != nil || ld.failed[name] {
			continue
		}
		p := &plugin{Plugin: &fleet.Plugin{Name: name, Shipped: true, Home: path.Join(shippedDir, name)}, l: ld.l, sources: ld.sources}
		files, _ := shipped.ReadDir(p.Home) // embedded
		jobs = append(jobs, ld.pluginJob(shipped, files, p))
	}
	return jobs
}

func (ld *loader) readDir(name string) []fs.DirEntry {
	entries, err := fs.ReadDir(ld.fsys, name)
	if err != nil {
		ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: sourcefile.Plain(err).Error()})
	}
	return entries
}

func (ld *loader) warn(p fleet.Problem) { ld.fleet.Warnings = append(ld.fleet.Warnings, p) }

// run evaluates the jobs, as many at a time as there are processors, each in a context of its own.
func (ld *loader) run(ctx context.Context, jobs []*job) {
	next := make(chan *job)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for j := range next {
				j.run(ctx, cmp.Or(j.fsys, ld.fsys), ld.l, ld.cache)
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		next <- j
	}
	close(next)
	workers.Wait()
}

func (j *job) run(ctx context.Context, fsys fs.FS, l limits, c *Cache) {
	key, cached := c.keyOf(fsys, j, l)
	cached = cached && !j.loose
	if cached {
		if packed, ok := c.get(key); ok {
			if d, n, err := unpack(j.path, packed); err == nil {
				j.dir, j.done, j.node = d, &evaluated{dir: d}, n
				return
			}
		}
	}
	var dir *dir
	var done *evaluated
	var n *node
	var ps fleet.Problems
	// What the work writes is read only if it ended: after a time-out it goes on by itself.
	err := l.bounded(ctx, func() {
		dir, ps = readDir(fsys, j.path, j.entries, l)
		if dir == nil {
			return
		}
		done = dir.evaluate(j.definition, j.loose)
		ps = append(ps, done.ps...)
		if j.loose || done.raw.Err() != nil {
			return
		}
		var err error
		if n, err = toNode(done.raw, l.Nodes); err != nil && !done.broken {
			done.broken = true
			ps = append(ps, fleet.Problem{Pos: fleet.Pos{File: j.path}, Msg: err.Error()})
		}
		// The context holds several times what the node does, and there may be thousands of folders.
		done.ctx, done.raw, done.value = nil, cue.Value{}, cue.Value{}
	})
	if err != nil {
		j.ps = fleet.Problems{{Pos: fleet.Pos{File: j.path}, Msg: err.Error(), Hint: "simplify the files of this folder: look for large disjunctions and for references that multiply"}}
		return
	}
	j.dir, j.done, j.node, j.ps = dir, done, n, ps
	if cached && n != nil && len(ps) == 0 && !done.broken {
		c.put(key, pack(dir, n))
	}
}

// clauses refuses a directory that has an ancestor's package name, because cue would merge the ancestor's files into it.
func (ld *loader) clauses(jobs []*job) {
	names := map[string]*dir{}
	for _, j := range jobs {
		if j.dir != nil {
			names[j.path] = j.dir
		}
	}
	for _, j := range jobs {
		for at := j.path; j.dir != nil && at != "."; {
			at = path.Dir(at)
			if up := names[at]; up != nil && up.pkg == j.dir.pkg {
				for _, f := range j.dir.files {
					j.ps = append(j.ps, fleet.Problem{Pos: f.clause, Msg: fmt.Sprintf("package %s is also the package of a folder above, whose files cue would merge into this one", j.dir.pkg),
						Hint: fmt.Sprintf("say `package %s`, or any other name", freeName(j, names)), Also: []fleet.Pos{up.files[0].clause}})
				}
			}
		}
	}
}

// freeName is a package name for j's directory that no folder above has.
func freeName(j *job, names map[string]*dir) string {
	name := clauseFor(j.path + "/x")
	for at := j.path; at != "."; {
		at = path.Dir(at)
		if up := names[at]; up != nil && up.pkg == name {
			name += "_" + clauseFor(at+"/x")
			at = j.path
		}
	}
	return name
}
