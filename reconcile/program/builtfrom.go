package program

import (
	"path/filepath"
	"runtime"
)

// BuiltFrom is the source checkout that this executable was built from, if it still is there, and "" otherwise. A
// release knows of none: its paths are trimmed.
func BuiltFrom() string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	dir, err := Places{Source: filepath.Dir(file)}.checkout()
	if err != nil {
		return ""
	}
	return dir
}

// sourceHint says which checkout to set with --source.
func sourceHint() string {
	if dir := BuiltFrom(); dir != "" {
		return "set --source " + dir + ", the checkout that this program was built from"
	}
	return "set a checkout of Bakehouse with --source"
}
