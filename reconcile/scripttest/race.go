//go:build race

package scripttest

import "path/filepath"

// files are the scripts that run under the race detector: those of commands that do many things at a time. In the
// others processes of one goroutine start each other, which takes ten minutes with it and shows it nothing.
func files(dir string) []string {
	var all []string
	for _, name := range []string{"reconcile", "gc", "monitor", "signonly", "verify"} {
		all = append(all, filepath.Join(dir, name+".txtar"))
	}
	return all
}
