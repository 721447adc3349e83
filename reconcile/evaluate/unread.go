package evaluate

import (
	"io/fs"
	"path"
	"slices"
	"strings"

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
	name := path.Base(file)
	if isCUE(name) || forOthers(name) {
		return nil
	}
	u := fleet.Unread{Problem: fleet.Problem{Pos: fleet.Pos{File: file}, Msg: "nothing reads this file"}}
	switch ext := path.Ext(name); {
	case isCUE(strings.TrimSuffix(name, ext)):
		u.Msg += ": its name does not end in .cue"
		u.Hint = "if it is still part of the fleet, rename it to " + strings.TrimSuffix(name, ext) + "; or remove it"
	case !likeCUE(name):
		if slices.Contains([]string{".yaml", ".yml", ".json", ".toml", ".ini"}, strings.ToLower(ext)) {
			u.Hint = "hosts, rules, keys and sites are written in CUE, in files whose names end in .cue"
		}
	case ext != ".cue":
		u.Msg += ": its name does not end in .cue, in small letters"
		u.Hint = "rename it to " + strings.TrimSuffix(name, ext) + ".cue, or remove it"
	case name[0] == '_' || name[0] == '.':
		u.Msg += ": CUE ignores names that begin with " + name[:1]
		u.Hint = "rename it, or remove it"
	default:
		u.Msg += ": CUE reserves names that end in _test.cue or _tool.cue"
		u.Hint = "rename it, or remove it"
	}
	ld.fleet.Unread = append(ld.fleet.Unread, u)
	return &ld.fleet.Unread[len(ld.fleet.Unread)-1]
}

// likeCUE reports whether somebody may take the file for CUE.
func likeCUE(name string) bool { return strings.EqualFold(path.Ext(name), ".cue") }

// forOthers reports whether by its name a file is for people, forges, editors or git.
func forOthers(name string) bool {
	stem, ext, _ := strings.Cut(name, ".")
	if stem == "" {
		return slices.Contains([]string{"keep", "gitkeep", "gitignore", "gitattributes", "editorconfig", "DS_Store"},
			ext)
	}
	return slices.Contains([]string{".md", ".rst", ".adoc"}, strings.ToLower(path.Ext(name))) ||
		slices.Contains([]string{"", "txt"}, ext) && slices.Contains([]string{"README", "LICENSE", "COPYING", "NOTICE",
			"CHANGELOG", "CONTRIBUTING", "CODEOWNERS", "OWNERS", "MAINTAINERS", "AUTHORS"}, strings.ToUpper(stem))
}

// unreadTop is unread for the top of the repo, where the files of other programs are. What is not CUE by its name is
// reported quietly, and not at all if it is known to be another's.
func (ld *loader) unreadTop(entries []fs.DirEntry) {
	for _, e := range entries {
		name := e.Name()
		stem, _, _ := strings.Cut(name, ".")
		switch {
		case e.IsDir():
		case likeCUE(name):
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
		case isCUE(e.Name()):
			ld.fleet.Unread = append(ld.fleet.Unread, fleet.Unread{Problem: fleet.Problem{Pos: fleet.Pos{File: name},
				Msg: "nothing reads this file", Hint: "a plugin's CUE is directly in plugins/NAME/"}})
		default:
			if u := ld.noteUnread(name); u != nil {
				u.Aside = !likeCUE(e.Name())
			}
		}
	}
}

// unreadPlugin notes what is in the folder of a plugin, and below it.
func (ld *loader) unreadPlugin(dir string, entries []fs.DirEntry) {
	for _, e := range entries {
		if !isCUE(e.Name()) {
			ld.unreadBelow(dir, []fs.DirEntry{e})
		}
	}
}
