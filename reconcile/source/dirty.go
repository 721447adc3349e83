package source

import (
	"fmt"
	"sort"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// Dirty lists the files of the work tree that differ from HEAD or are not tracked, sorted. A bare repository has none.
func (r *Repo) Dirty() ([]string, error) {
	if r.git.Top == "" {
		return nil, nil
	}
	repoFS := osfs.New(r.git.Dir)
	if r.git.Common != r.git.Dir {
		repoFS = dotgit.NewRepositoryFilesystem(repoFS, osfs.New(r.git.Common))
	}
	storage := filesystem.NewStorageWithOptions(repoFS, cache.NewObjectLRUDefault(),
		filesystem.Options{AlternatesFS: osfs.New("/", osfs.WithBoundOS())})
	g, err := git.Open(storage, osfs.New(r.git.Top))
	if err != nil {
		return nil, err
	}
	w, err := g.Worktree()
	if err != nil {
		return nil, err
	}
	status, err := w.Status()
	if err != nil {
		return nil, fmt.Errorf("state of the work tree %s: %w", r.git.Top, err)
	}
	var files []string
	for name, s := range status {
		if s.Worktree != git.Unmodified || s.Staging != git.Unmodified {
			files = append(files, name)
		}
	}
	sort.Strings(files)
	return files, nil
}
