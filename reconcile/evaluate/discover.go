package evaluate

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/named"
	"bakehouse/reconcile/evaluate/result"
	"bakehouse/reconcile/evaluate/sourcefile"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// folders are those that configuration is read from, besides the top.
var folders = []string{"hosts", "keys", "plugins", "sites"}

// discover lists the directories to evaluate, in the order in which they are taken: the top first, then by path.
func (ld *loader) discover() (jobs, error) {
	top, err := fs.ReadDir(ld.fsys, ".")
	if err != nil {
		return nil, fmt.Errorf("reading the config repo: %w", err)
	}
	if !slices.ContainsFunc(top, func(e fs.DirEntry) bool { return e.Name() == "fleet.cue" }) {
		return nil, fault.Hint(errors.New("fleet.cue: no such file, so this is no config repo"),
			"`bakehouse init DIR` makes one")
	}
	jobs := jobs{{path: ".", entries: top, definition: "#Root",
		take: func(d *result.Directory) { ld.takeRoot(d.Tree()) }}}
	ld.unreadTop(top)
	for _, e := range top {
		name := e.Name()
		if name[0] == '.' || !e.IsDir() {
			switch {
			case name != "trust" && !slices.Contains(folders, name):
			case e.Type()&fs.ModeIrregular != 0:
				ld.ps = append(ld.ps, submoduleProblem(name))
			default:
				ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a folder",
					Hint: "symbolic links are not followed"})
			}
			continue
		}
		switch name {
		case "keys":
			jobs = append(jobs, &job{path: name, entries: ld.readFlat(name, ".key", ".pub", ".pem", ".crt"),
				definition: "#Keys", take: func(d *result.Directory) { ld.takeKeys(d.Tree()) }})
		case "sites":
			jobs = append(jobs, &job{path: name, entries: ld.readFlat(name, ".pem", ".crt"), definition: "#Sites",
				take: func(d *result.Directory) { ld.takeSites(d.Tree()) }})
		case "hosts":
			jobs = ld.discoverFolders(jobs, name, nil)
		case "plugins":
			jobs = append(jobs, ld.discoverPlugins(name)...)
		case "trust", "cue.mod":
		default:
			for _, f := range ld.readDir(name) {
				if named.LikeCUE(f.Name()) && !f.IsDir() {
					ld.fleet.Unread = append(ld.fleet.Unread, fleet.Unread{Problem: fleet.Problem{
						Pos: fleet.Pos{File: path.Join(name, f.Name())}, Msg: "nothing reads this file",
						Hint: fleet.Nearest("did you mean the folder %s/?", name, folders)}})
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
	jobs = append(jobs, &job{path: dir, entries: entries, definition: result.FolderDefinition,
		take: func(d *result.Directory) { ld.takeFolder(folder, d.Tree()) }})
	ld.unread(dir, entries)
	for _, e := range entries {
		switch name := path.Join(dir, e.Name()); {
		case e.IsDir() && (e.Name()[0] == '.' || e.Name()[0] == '_'):
			ld.unreadFolder(name, "its name begins with "+e.Name()[:1], "rename it, or remove it")
		case e.Type()&fs.ModeSymlink != 0 && !named.CUE(e.Name()):
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is a symbolic link",
				Hint: "symbolic links are not followed: put the folder itself here"})
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
		p := &plugin{Plugin: &fleet.Plugin{Name: e.Name(), Home: name}}
		switch {
		case e.IsDir() && (e.Name()[0] == '.' || e.Name()[0] == '_'):
			ld.unreadFolder(name, "its name begins with "+e.Name()[:1], "rename it, or remove it")
			continue
		case !e.IsDir():
			if named.CUE(e.Name()) || e.Type()&fs.ModeSymlink != 0 {
				ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is not a folder",
					Hint: "a plugin is a folder: plugins/NAME/plugin.cue"})
				continue
			}
			ld.noteUnread(name)
			continue
		case schema.CheckName(p.Name) != nil || p.Name == fleet.HostAttributes:
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name},
				Msg: fmt.Sprintf("%q cannot be the name of a plugin", p.Name)})
			continue
		case p.Name == fleet.UpdaterPlugin:
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name},
				Msg: "the plugin updater is shipped with bakehouse and cannot be replaced"})
			continue
		}
		entries := ld.readDir(name)
		ld.unreadPlugin(name, entries)
		jobs = append(jobs, ld.pluginJob(ld.fsys, entries, p))
	}
	return jobs
}

func (ld *loader) pluginJob(fsys fs.FS, entries []fs.DirEntry, p *plugin) *job {
	j := &job{fsys: fsys, path: p.Home, entries: entries, definition: result.PluginDefinition, plugin: p.Name}
	j.take = func(d *result.Directory) {
		if d == nil {
			ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: p.Home}, Msg: "there is no CUE file in it",
				Hint: "a plugin is plugins/NAME/plugin.cue"})
			return
		}
		p.Doc, p.Combine, p.Params, p.Reads = d.Plugin.Doc, d.Plugin.Combine, d.Plugin.Params, d.Plugin.Reads
		p.source, p.key = j.source, j.key
		ld.fleet.Plugins[p.Name], ld.plugins[p.Name] = p.Plugin, p
	}
	return j
}

// shippedJobs are the plugins that come with the tool, that rules are about and that the repo does not replace.
func (ld *loader) shippedJobs() (jobs []*job) {
	for _, name := range ShippedNames() {
		if !ld.wanted[name] || ld.fleet.Plugins[name] != nil || ld.failed[name] {
			continue
		}
		p := &plugin{Plugin: &fleet.Plugin{Name: name, Shipped: true, Home: path.Join(shippedDir, name)}}
		files, _ := shipped.ReadDir(p.Home) // embedded
		jobs = append(jobs, ld.pluginJob(shipped, files, p))
	}
	return jobs
}

// readFlat lists a folder whose own folders are not read, and notes them and the files that are not read; those with a
// known extension go by other ways.
func (ld *loader) readFlat(name string, known ...string) []fs.DirEntry {
	entries := ld.readDir(name)
	ld.unread(name, entries, known...)
	for _, e := range entries {
		if e.IsDir() {
			ld.unreadFolder(path.Join(name, e.Name()), "files are read directly in "+name+"/ only",
				"move its files to "+name+"/, or remove it")
		}
	}
	return entries
}

func (ld *loader) readDir(name string) []fs.DirEntry {
	entries, err := fs.ReadDir(ld.fsys, name)
	if err != nil {
		ld.ps = append(ld.ps, fleet.Problem{Pos: fleet.Pos{File: name}, Msg: sourcefile.Plain(err).Error()})
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool {
		submodule := e.Type()&fs.ModeIrregular != 0
		if submodule {
			ld.ps = append(ld.ps, submoduleProblem(path.Join(name, e.Name())))
		}
		return submodule
	})
}

func submoduleProblem(name string) fleet.Problem {
	return fleet.Problem{Pos: fleet.Pos{File: name}, Msg: "is a submodule",
		Hint: "submodules are not read: put the folder itself here"}
}
