// Package examples holds config repos that a user can copy: `bakehouse init` writes one into a new repo, and
// `bakehouse demo` runs the quickstart. Keys, roots and pinned programs are made by commands, so no example has them.
// ci has what a forge runs for such a repo, and who must approve what; rebuilder what a second CI runs.
package examples

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

//go:embed all:minimal all:quickstart all:sites
var files embed.FS

// CodeOwners is the file CODEOWNERS of a new repo, where GitHub and GitLab read it at the root.
//
//go:embed ci/CODEOWNERS
var CodeOwners []byte

// GitAttributes is the file .gitattributes of a new repo, so that a checkout has the bytes of the commit.
//
//go:embed ci/gitattributes
var GitAttributes []byte

// Names lists the examples.
func Names() []string {
	entries, _ := files.ReadDir(".")
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// FS is the config repo of an example.
func FS(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("unknown example %.40q: want %s", name, strings.Join(Names(), " or "))
	}
	return fs.Sub(files, name)
}
