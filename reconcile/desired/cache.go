package desired

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/source/gitdir"
	"bakehouse/schema/fault"
)

// DefaultCacheDir is the user's directory for what was evaluated before, empty if there is none.
func DefaultCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bakehouse", "evaluated")
}

// OpenCache opens the cache in dir, or returns nil if dir is empty. One that cannot be used is no error: a note goes
// to log, and everything is evaluated again. One that the repository around repo could supply is refused, because a
// commit would then decide what its own files mean.
func OpenCache(repo, dir string, log io.Writer) (*cache.Cache, error) {
	if dir == "" {
		return nil, nil
	}
	if _, err := os.Stat(repo); err == nil { // whoever opens the repository reports that it is not there
		if err := gitdir.Outside(repo, dir); err != nil {
			return nil, fault.Hint(fmt.Errorf("--cache-dir: %w", err),
				"choose a directory outside of the repository, or none: --cache-dir \"\"")
		}
	}
	c, err := cache.Open(dir)
	if err != nil {
		console.Note(log, "evaluating without a cache: %v", err)
		return nil, nil
	}
	return c, nil
}
