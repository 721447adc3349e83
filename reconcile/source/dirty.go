package source

import (
	"io/fs"

	"bakehouse/reconcile/source/status"
	"bakehouse/reconcile/source/worktree"
)

// Worktree is the fleet's files as they are on disk, for commands that look at or write what is not committed yet.
// Symbolic links are refused as in a Revision, and .git is not seen.
func Worktree(dir string) (fs.FS, error) { return worktree.Open(dir) }

// Dirty is what of the fleet's folder in the work tree is not in the commit of HEAD. A bare repository has none.
func (r *Repo) Dirty(folder string) (status.Status, error) { return status.Of(r.git, folder) }
