package source

import (
	"fmt"
	"os"
	"path/filepath"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Repo is a local git repository, with or without a work tree. It is safe for one goroutine at a time; the FS of a
// Revision locks for itself.
type Repo struct {
	git   *gitdir.Repo
	below string // the directory that Open was given, seen from the top of the work tree; "." for the top
}

// topFile is the file that the top of a fleet has.
const topFile = "fleet.cue"

// Open finds the repository at dir or above it.
func Open(dir string) (*Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fault.Hint(err, "name the fleet repository with --repo DIR")
	}
	top, gitDir, err := gitdir.Locate(abs)
	if err != nil {
		return nil, err
	}
	g, err := gitdir.Open(top, gitDir)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("git repository %s: %w", abs, err), "%s", fault.HintOf(err))
	}
	r := &Repo{git: g, below: "."}
	if top != "" {
		below, err := filepath.Rel(top, abs)
		if err != nil {
			return nil, err
		}
		r.below = filepath.ToSlash(below)
	}
	return r, nil
}

// Folder is the directory at dir or above it, but not above the work tree, that has a fleet; dir if none has.
func Folder(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	top, _, err := gitdir.Locate(abs)
	if err != nil || top == "" {
		return dir
	}
	for at := abs; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(filepath.Join(at, topFile)); err == nil {
			if at == abs {
				return dir
			}
			return at
		}
		if at == top || at == filepath.Dir(at) {
			return dir
		}
	}
}

// load reads a commit.
func (r *Repo) load(hash plumbing.Hash) (*object.Commit, error) {
	o, _, err := readObject(r.git.Objects, plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	c, err := object.DecodeCommit(r.git.Objects, o)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", hash, err)
	}
	return c, nil
}

// Shallow reports whether the clone lacks history, so that a commit that is not there may well exist.
func (r *Repo) Shallow() bool {
	return len(r.git.Shallow()) > 0
}

// absent is the error for an object that somebody names and that the repository lacks.
func (r *Repo) absent(kind string, hash plumbing.Hash, by string) error {
	err := fmt.Errorf("%s %s, which %s names, is not in this repository", kind, hash, by)
	if hash.String() == by {
		err = fmt.Errorf("%s %s is not in this repository", kind, hash)
	}
	switch {
	case len(r.git.Objects.Absent) > 0:
		return fault.Hint(fmt.Errorf("%w, which borrows objects from %s, and that is not there", err,
			r.git.Objects.Absent[0]), "make it accessible, or clone without --shared and --reference")
	case r.git.Partial():
		return fault.Hint(fmt.Errorf("%w: it is a partial clone", err), fetchAll)
	case r.Shallow():
		return fault.Hint(fmt.Errorf("%w: it is a shallow clone", err),
			"fetch it: git fetch --unshallow, or fetch-depth: 0 in the workflow's checkout step")
	}
	return fault.Hint(err, "see `git fsck`, and fetch it (git fetch) or clone the repository again")
}

// fetchAll is what to do about a partial clone.
const fetchAll = "fetch what is missing: git fetch --refetch --no-filter, or clone without --filter"
