package evaluate

import (
	"io/fs"
	"path"
	"slices"
	"strings"

	"bakehouse/reconcile/evaluate/named"
	"bakehouse/schema/fleet"
)

// unread notes the files of a directory of CUE that are not read, but for those whose extension is among known.
func (ld *loader) unread(dir string, entries []fs.DirEntry, known ...string) {
	for _, e := range entries {
		if !e.IsDir() && !slices.Contains(known, path.Ext(e.Name())) {
			ld.noteUnread(path.Join(dir, e.Name()))
		}
	}
}

// noteUnread notes a file, unless it is read as CUE or is plainly meant for somebody else.
func (ld *loader) noteUnread(file string) *fleet.Unread {
	if named.CUE(path.Base(file)) || named.ForOthers(path.Base(file)) {
		return nil
	}
	ld.fleet.Unread = append(ld.fleet.Unread, named.Unread(file))
	return &ld.fleet.Unread[len(ld.fleet.Unread)-1]
}

// unreadTop is unread for the top of the repo, where the files of other programs are. What is not CUE by its name is
// reported quietly, and not at all if it is known to be another's.
func (ld *loader) unreadTop(entries []fs.DirEntry) {
	for _, e := range entries {
		name := e.Name()
		stem, _, _ := strings.Cut(name, ".")
		switch {
		case e.IsDir():
		case named.LikeCUE(name):
			ld.noteUnread(name)
		case stem == "" || stem == "bakehouse" ||
			slices.Contains([]string{"Makefile", "GNUmakefile", "justfile", "Taskfile", "Jenkinsfile", "Dockerfile",
				"Containerfile", "Vagrantfile", "renovate", "package", "package-lock", "mkdocs", "codecov"}, stem) ||
			slices.Contains([]string{".sh", ".py", ".nix"}, path.Ext(name)):
		default:
			if u := ld.noteUnread(name); u != nil {
				u.Aside = true
			}
		}
	}
}

// unreadFolder notes a folder that is not descended into, if anything is in it.
func (ld *loader) unreadFolder(dir, why, hint string) {
	if len(ld.readDir(dir)) > 0 {
		ld.fleet.Unread = append(ld.fleet.Unread, fleet.Unread{Problem: fleet.Problem{Pos: fleet.Pos{File: dir},
			Msg: "nothing reads this folder: " + why, Hint: hint}})
	}
}

// unreadBelow notes the files below the folder of a plugin. They are data that the plugin can ship; no CUE is read.
func (ld *loader) unreadBelow(dir string, entries []fs.DirEntry) {
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		switch {
		case e.IsDir():
			ld.unreadBelow(name, ld.readDir(name))
		case named.CUE(e.Name()):
			ld.fleet.Unread = append(ld.fleet.Unread, fleet.Unread{Problem: fleet.Problem{Pos: fleet.Pos{File: name},
				Msg: "nothing reads this file", Hint: "a plugin's CUE is directly in plugins/NAME/"}})
		default:
			if u := ld.noteUnread(name); u != nil {
				u.Aside = !named.LikeCUE(e.Name())
			}
		}
	}
}

// unreadPlugin notes what is in the folder of a plugin, and below it.
func (ld *loader) unreadPlugin(dir string, entries []fs.DirEntry) {
	for _, e := range entries {
		if !named.CUE(e.Name()) {
			ld.unreadBelow(dir, []fs.DirEntry{e})
		}
	}
}
