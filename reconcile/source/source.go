// Package source is the first step of a pass: it pins a git ref as a Revision and reads its tree straight from git
// objects, as an fs.FS. There is no checkout, so what is baked is exactly what was committed; a work tree that
// differs is named to the user, never used. Symbolic links and submodules are refused where they are met, because both
// would let a commit name bytes that it does not contain.
//
// The fleet may be a folder of a larger repository: the files are then those of that folder, the commits those of the
// whole.
//
// Where the operator names who may sign commits (Signers, from files outside the repository), a Verifier checks the
// head before anything in its tree is read, and then every commit since the last published one.
package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Repo is a local git repository, with or without a work tree. It is safe for one goroutine at a time; the FS of a
// Revision locks for itself.
type Repo struct {
	git   *gitdir.Repo
	below string // the directory that Open was given, seen from the top of the work tree; "." for the top
}

// Revision is one commit, pinned.
type Revision struct {
	Commit  string // 40 hex digits
	Tree    string // likewise
	Subject string
	Author  string    // "NAME <EMAIL>"
	Key     string    // that its signature names, unverified: an SSH key's fingerprint or an OpenPGP key's id; or empty
	Time    time.Time // committer's
	Folder  string    // of the fleet, seen from the top of the repository; "." for the top
	FS      fs.FS     // the tree of that folder; safe for concurrent use
}

// top is the file that the top of a fleet has.
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

// Revision pins ref: a branch, tag, commit or HEAD.
func (r *Repo) Revision(ref string) (*Revision, error) {
	hash, err := r.resolve(ref)
	if err != nil {
		return nil, err
	}
	commit, err := r.load(hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, r.absent("commit", hash, ref)
	}
	if err != nil {
		return nil, fmt.Errorf("ref %q: %w", ref, err)
	}
	tree, err := readTree(r.git.Objects, commit.TreeHash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, r.absent("tree", commit.TreeHash, "commit "+hash.String())
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	subject, _, _ := strings.Cut(commit.Message, "\n")
	rev := &Revision{
		Commit:  commit.Hash.String(),
		Tree:    tree.Hash.String(),
		Subject: subject,
		Author:  commit.Author.Name + " <" + commit.Author.Email + ">",
		Key:     namedKey(commit.PGPSignature),
		Time:    commit.Committer.When,
	}
	rev.Folder, tree, err = r.folder(tree)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	rev.FS = newTreeFS(r.git.Objects, tree, commit.Committer.When)
	return rev, nil
}

// folder is the folder that has the fleet: the first with a fleet.cue from where the repository was opened to its top,
// and the top if there is none.
func (r *Repo) folder(root *object.Tree) (string, *object.Tree, error) {
	name, at := ".", root
	found, tree := ".", root
	for part := range strings.SplitSeq(r.below, "/") {
		if part == "." {
			break
		}
		e, err := find(at, part)
		if err != nil || e.Mode != filemode.Dir {
			break
		}
		if at, err = readTree(r.git.Objects, e.Hash); err != nil {
			return "", nil, err
		}
		name = path.Join(name, part)
		if _, err := find(at, topFile); err == nil {
			found, tree = name, at
		}
	}
	return found, tree, nil
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
