package rules

import (
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// conflicts are places that two plugins claim on one host, and names of a place that are not the one it goes by. at is
// where a plugin's file is written: in a rule, or where the plugin itself has it.
func conflicts(
	os string, outputs []*fleet.Output, at func(plugin, file string, other fleet.Pos) fleet.Pos,
) (ps fleet.Problems) {
	type claim struct {
		plugin string
		pos    fleet.Pos
		file   fleet.File
	}
	files, services, users := map[string]claim{}, map[string]claim{}, map[string]fleet.User{}
	clash := func(what string, at fleet.Pos, plugin string, first claim) {
		ps = append(ps, fleet.Problem{Pos: at, Also: []fleet.Pos{first.pos},
			Msg: fmt.Sprintf("plugins %s and %s both have the %s", first.plugin, plugin, what)})
	}
	for _, o := range outputs {
		for _, f := range o.Files {
			pos := at(o.Plugin, f.Path, f.Pos)
			place := f.Path
			if os == "windows" { // which tells no upper from lower case
				place = strings.ToLower(place)
			}
			if first, ok := files[place]; ok && !sameDirectory(f, first.file) {
				clash("file "+f.Path, pos, o.Plugin, first)
			}
			files[place] = claim{o.Plugin, pos, f}
		}
		for _, s := range o.Services {
			if first, ok := services[s.Name]; ok {
				clash("service "+s.Name, s.Pos, o.Plugin, first)
			}
			services[s.Name] = claim{plugin: o.Plugin, pos: s.Pos}
		}
		for _, i := range o.Intervals {
			if first, ok := services[i.Name]; ok {
				clash("service "+i.Name, i.Pos, o.Plugin, first)
			}
			services[i.Name] = claim{plugin: o.Plugin, pos: i.Pos}
		}
		// Two may well need one user, if they agree on who that is.
		for _, u := range o.Users {
			first, ok := users[u.Name]
			if at := first.Pos; ok {
				if first.Pos = u.Pos; !reflect.DeepEqual(first, u) {
					ps = append(ps, fleet.Problem{Pos: u.Pos,
						Msg:  fmt.Sprintf("user %s is described otherwise by another plugin of the host", u.Name),
						Also: []fleet.Pos{at}})
				}
				continue
			}
			users[u.Name] = u
		}
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if real := canonical(os, file); real != file {
			ps = append(ps, fleet.Problem{Pos: files[file].pos,
				Msg: fmt.Sprintf("%s is another name of %s: on most hosts the one folder is a link to the other",
					file, real),
				Hint: "name it " + real})
		}
		if name := unitName(os, file); services[name].plugin != "" {
			ps = append(ps, fleet.Problem{Pos: files[file].pos,
				Msg: fmt.Sprintf("%s is a unit of service %s, which has its units from the package already: "+
					"only one of them would be in force", file, name),
				Hint: fmt.Sprintf("change single settings in %s.service.d/NAME.conf, or leave the service out", name),
				Also: []fleet.Pos{services[name].pos}})
		}
		for dir := range parents(file) {
			if first, ok := files[dir]; ok && !first.file.Mode.IsDir() {
				what := "file"
				if first.file.Link != "" {
					what = "symbolic link"
				}
				c := files[file]
				ps = append(ps, fleet.Problem{Pos: c.pos, Also: []fleet.Pos{first.pos},
					Msg: fmt.Sprintf("%s is a %s and cannot hold %s", dir, what, file)})
			}
		}
	}
	return ps
}

// sameDirectory reports whether both are one directory, which two plugins may well need.
func sameDirectory(a, b fleet.File) bool {
	return a.Mode.IsDir() && a.Mode == b.Mode && a.Owner == b.Owner && a.Group == b.Group
}

// parents yields the folders that path is in, but the root.
func parents(path string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path, '/') {
			path = path[:i]
			if !yield(path) {
				return
			}
		}
	}
}

// links are folders that are links on hosts with a merged /usr (Debian from 12 on, Fedora, RHEL from 7 on), and in time
// on all. A package manager that takes a file's two names for two files lets packages overwrite each other's.
var links = map[string][]string{
	"linux":   {"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/sbin"},
	"solaris": {"/bin"},
}

// canonical is the one name of a path.
func canonical(os, file string) string {
	for _, link := range links[os] {
		if strings.HasPrefix(file, link+"/") {
			return "/usr" + file
		}
	}
	return file
}

// unitDirs are where systemd looks for units that packages and administrators make, the strongest first.
var unitDirs = []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"}

// unitName is the service that a file is the unit, socket or timer of; empty if it is none.
func unitName(os, file string) string {
	if os != "linux" || !slices.Contains(unitDirs, path.Dir(canonical(os, file))) {
		return ""
	}
	kind := path.Ext(file)
	if !slices.Contains([]string{".service", ".socket", ".timer"}, kind) {
		return ""
	}
	name, _, _ := strings.Cut(strings.TrimSuffix(path.Base(file), kind), "@")
	return name
}
