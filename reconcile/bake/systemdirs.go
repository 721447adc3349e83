package bake

import (
	"slices"

	"bakehouse/schema/fleet"
)

// ownedDirs drops the directories that belong to the system, unless a plugin has them. rpm, for one, refuses a package
// whose directory has another mode than the one that another package owns, and distributions differ in the modes of
// theirs. What is missing rpm makes.
func ownedDirs(files []*file) []*file {
	return slices.DeleteFunc(slices.Clone(files), func(f *file) bool { return f.implied() && fleet.SystemDir(f.path) })
}
