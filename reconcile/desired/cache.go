package desired

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/reconcile/evaluate/cache"
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
// to log, and everything is evaluated again.
func OpenCache(dir string, log io.Writer) *cache.Cache {
	if dir == "" {
		return nil
	}
	c, err := cache.Open(dir)
	if err != nil {
		fmt.Fprintf(log, "bakehouse: note: evaluating without a cache: %v\n", err)
		return nil
	}
	return c
}
