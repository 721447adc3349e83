package reconcile

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/reconcile/evaluate"

	"github.com/spf13/cobra"
)

// evaluation says where what was evaluated before is kept.
type evaluation struct{ dir string }

func (e *evaluation) flag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.dir, "cache-dir", defaultCacheDir(),
		"folder that keeps what was evaluated before, this user's alone: what stands in it decides what is signed. Empty: none")
}

func defaultCacheDir() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "bakehouse", "evaluated")
}

// open returns the cache, or nil if there is to be none. One that cannot be used is no error: all is evaluated anew.
func (e *evaluation) open(log io.Writer) *evaluate.Cache {
	if e.dir == "" {
		return nil
	}
	c, err := evaluate.OpenCache(e.dir)
	if err != nil {
		fmt.Fprintf(log, "bakehouse: note: evaluating without a cache: %v\n", err)
		return nil
	}
	return c
}
