// Package named tells by a file's name whether it is CUE that is evaluated, looks as if it were, or is somebody else's,
// and says what to do about one that nothing reads.
package named

import (
	"path"
	"slices"
	"strings"

	"bakehouse/schema/fleet"
)

// CUE reports whether cue itself would take the file into a package.
func CUE(name string) bool {
	return strings.HasSuffix(name, ".cue") && name[0] != '_' && name[0] != '.' &&
		!strings.HasSuffix(name, "_tool.cue") && !strings.HasSuffix(name, "_test.cue")
}

// LikeCUE reports whether somebody may take the file for CUE.
func LikeCUE(name string) bool { return strings.EqualFold(path.Ext(name), ".cue") }

// ForOthers reports whether by its name a file is for people, forges, editors or git.
func ForOthers(name string) bool {
	stem, ext, _ := strings.Cut(name, ".")
	if stem == "" {
		return slices.Contains([]string{"keep", "gitkeep", "gitignore", "gitattributes", "editorconfig", "DS_Store"},
			ext)
	}
	return slices.Contains([]string{".md", ".rst", ".adoc"}, strings.ToLower(path.Ext(name))) ||
		slices.Contains([]string{"", "txt"}, ext) && slices.Contains([]string{"README", "LICENSE", "COPYING", "NOTICE",
			"CHANGELOG", "CONTRIBUTING", "CODEOWNERS", "OWNERS", "MAINTAINERS", "AUTHORS"}, strings.ToUpper(stem))
}

// Unread is what to say of a file that nothing reads; file is its path.
func Unread(file string) fleet.Unread {
	name := path.Base(file)
	u := fleet.Unread{Problem: fleet.Problem{Pos: fleet.Pos{File: file}, Msg: "nothing reads this file"}}
	switch ext := path.Ext(name); {
	case CUE(strings.TrimSuffix(name, ext)):
		u.Msg += ": its name does not end in .cue"
		u.Hint = "if it is still part of the fleet, rename it to " + strings.TrimSuffix(name, ext) + "; or remove it"
	case !LikeCUE(name):
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
	return u
}
