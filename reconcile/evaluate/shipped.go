package evaluate

import (
	"embed"
	"io/fs"
	"strings"

	"bakehouse/schema/fleet"
)

//go:embed plugins
var shippedFiles embed.FS

// shippedDir is where positions say that shipped plugins are; no repo can have such a folder in the way.
const (
	shippedPrefix = fleet.Builtin
	shippedDir    = shippedPrefix + "plugins"
)

// shippedFS shows the shipped plugins under names that tell them from the repo's.
type shippedFS struct{ files embed.FS }

var shipped = shippedFS{shippedFiles}

func (s shippedFS) Open(name string) (fs.File, error) {
	return s.files.Open(strings.TrimPrefix(name, shippedPrefix))
}

func (s shippedFS) ReadDir(name string) ([]fs.DirEntry, error) {
	return s.files.ReadDir(strings.TrimPrefix(name, shippedPrefix))
}

// ShippedNames are the plugins that come with this program.
func ShippedNames() []string {
	entries, _ := shipped.ReadDir(shippedDir) // embedded
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}
