// Package result is what crosses between whoever evaluates CUE and whoever makes a fleet of it: the files of a
// directory one way, plain data the other way. Encode and Decode give the data a form of bytes, for a cache or for
// another process.
package result

import (
	"path"
	"strings"

	"bakehouse/schema/fleet"
)

// Source is a directory of CUE files, and the definition of the published schema that it has to meet.
type Source struct {
	Path       string // in the repo; "." for the top
	Definition string // such as "#Folder"
	Files      []File // by name
	Parts      int    // how many values of the files are evaluated, the rest being left open; 0: all
}

// PluginDefinition is the Definition of a plugin's directory.
const PluginDefinition = "#PluginDir"

// FolderDefinition is the Definition of a folder of hosts and rules.
const FolderDefinition = "#Folder"

// File is a CUE file.
type File struct {
	Name string // in the repo, as in positions
	Data []byte
}

// Directory is what a Source evaluated to.
type Directory struct {
	Package  string // empty if no file could be parsed
	Clauses  []fleet.Pos
	Value    *Node // nil if the files do not make up one, and for a plugin
	Plugin   *Plugin
	Problems fleet.Problems
	Broken   bool // Value is as written at best: what follows from it would only repeat Problems
}

// Plugin is what a plugin declares; see fleet.Plugin.
type Plugin struct {
	Doc     string
	Combine fleet.Combine
	Params  []fleet.Param
	Reads   map[string][]string
}

// PackageFor is a name for the package of the directory that a file is in.
func PackageFor(name string) string {
	base := path.Base(path.Dir(name))
	if base == "." {
		return "fleet"
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, base)
}

// Tree is the value of a directory, nil for none.
func (d *Directory) Tree() *Node {
	if d == nil {
		return nil
	}
	return d.Value
}
