package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Turned finds what a package manager cannot follow: paths that are a file in one package of a host and a folder in
// the next. dpkg never puts a symbolic link where a folder is, nor a folder where a link is, through which it then
// writes elsewhere, and says nothing. rpm refuses to put a file where the
// package before has a folder, so the host would stay behind for good; and where a file becomes a folder, rpm could not
// go back. It is fed with pairs of packages and keeps each path once.
type Turned struct {
	found map[string]*turned // by path
}

type turned struct {
	fleet.Problem
	hosts int
}

// Strict reports whether a host's package manager may not follow to its next package, so that Add is worth its price.
func Strict(next *rules.Result) bool {
	return next != nil && next.Recipe != nil && (next.Format == schema.Rpm || next.Format == schema.Deb)
}

// Paths are those of a package's files, folders with a slash at their ends; Links are those of them that are symbolic
// links.
type Paths struct{ Files, Links []string }

// Add looks at a package by its paths, and at what a host gets next that stands for so many hosts.
func (t *Turned) Add(before Paths, after *rules.Resolved, host string, hosts int) {
	next := after.Hosts[host]
	if !Strict(next) {
		return
	}
	is := filesOf(next.Recipe)
	were, are := folders(before.Files), folders(is)
	if next.Format == schema.Deb {
		for _, link := range linksOf(next.Recipe) {
			if were[link] != "" {
				t.add(link, after.FilePos(next, link), hosts,
					"is a symbolic link, and is a folder in the package before, which dpkg keeps")
			}
		}
		for _, link := range before.Links {
			if below := are[link]; below != "" {
				t.add(link, after.FilePos(next, strings.TrimSuffix(below, "/")), hosts,
					"is a folder, and is a symbolic link in the package before, which dpkg keeps and writes through")
			}
		}
		return
	}
	for _, file := range is {
		if were[file] != "" {
			t.add(file, after.FilePos(next, file), hosts, "is a file, and is a folder in the package before")
		}
	}
	for _, file := range before.Files {
		if below := are[file]; below != "" {
			t.add(file, after.FilePos(next, strings.TrimSuffix(below, "/")), hosts,
				"is a folder, and is a file in the package before")
		}
	}
}

func (t *Turned) add(file string, pos fleet.Pos, hosts int, what string) {
	if t.found == nil {
		t.found = map[string]*turned{}
	}
	if t.found[file] == nil {
		t.found[file] = &turned{Problem: fleet.Problem{Pos: pos, Msg: file + " " + what,
			Hint: "give one of them another name, or leave it out of one release first: the package manager cannot " +
				"follow, or not go back"}}
	}
	t.found[file].hosts += hosts
}

// Err is a fleet.Problems with every path that was found, nil without any.
func (t *Turned) Err() error {
	var ps fleet.Problems
	for _, file := range slices.Sorted(maps.Keys(t.found)) {
		p := t.found[file].Problem
		p.Msg += fmt.Sprintf(" (hosts concerned: %d)", t.found[file].hosts)
		ps = append(ps, p)
	}
	return ps.Err()
}

// folders has every folder that files are in, each with one of these files. A path that ends in a slash is a folder.
func folders(files []string) map[string]string {
	in := map[string]string{}
	for _, file := range files {
		for dir := file; ; {
			i := strings.LastIndexByte(dir, '/')
			if i <= 0 {
				break
			}
			if dir = dir[:i]; in[dir] == "" || file < in[dir] {
				in[dir] = file
			}
		}
	}
	return in
}

// TurnedBetween is Turned over all hosts of two sides whose recipes are known.
func TurnedBetween(before, after Side, diff *Plan) error {
	var t Turned
	for host, n := range diff.Steps() {
		old := before.recipe(before.Hosts[host].Recipe)
		if old != nil && Strict(after.Resolved.Hosts[host]) && before.Hosts[host].Format == after.Hosts[host].Format {
			t.Add(Paths{filesOf(old), linksOf(old)}, after.Resolved, host, n)
		}
	}
	return t.Err()
}

// Steps has a host for each pair of packages of which one follows the other, and how many hosts take that step.
func (p *Plan) Steps() map[string]int {
	type step struct {
		before schema.Digest
		from   Package
		to     Package
	}
	first, steps := map[step]string{}, map[string]int{}
	for _, c := range p.Changes {
		if c.Kind != Repackage {
			continue
		}
		s := step{c.Before.Current.Manifest, c.Before.Package, c.After.Package}
		if first[s] == "" {
			first[s] = c.Host
		}
		steps[first[s]]++
	}
	return steps
}

func filesOf(r *rules.Recipe) (files []string) {
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			name := f.Path
			if f.Mode.IsDir() {
				name += "/" // so it is a folder, also without a file in it
			}
			files = append(files, name)
		}
	}
	return files
}

func linksOf(r *rules.Recipe) (links []string) {
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			if f.Link != "" {
				links = append(links, f.Path)
			}
		}
	}
	return links
}
