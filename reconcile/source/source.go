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
	"path"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

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

// Missing is the error for the first object that was needed and that the repository lacks; nil if there was none.
func (r *Revision) Missing() error {
	f, ok := r.FS.(*treeFS)
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lacks
}

// Path is where a file of the fleet is in the repository.
func (r *Revision) Path(name string) string { return path.Join(r.Folder, name) }

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
	files := newTreeFS(r.git.Objects, tree, commit.Committer.When)
	files.absent = func(kind string, hash plumbing.Hash, name string) error {
		return r.absent(kind, hash, fmt.Sprintf("%s of commit %.12s", name, rev.Commit))
	}
	if err := r.enter(files); err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	rev.Folder, rev.FS = files.filters.Folder, files
	return rev, nil
}

// enter makes a folder the top of f, that which has the fleet: the first with a fleet.cue from where the repository was
// opened to its top, and the top if there is none.
func (r *Repo) enter(f *treeFS) error {
	f.filters.Folder = "."
	folder := r.below
	for ; folder != "."; folder = path.Dir(folder) {
		_, _, err := f.lookup("stat", path.Join(folder, topFile))
		if err == nil {
			break
		}
		if f.lacks != nil {
			return f.lacks
		}
	}
	if folder == "." {
		return nil
	}
	// Attributes of the directories above count in it.
	if err := f.filter(path.Join(folder, topFile)); err != nil && f.lacks != nil {
		return f.lacks
	}
	f.dirs = map[string]*object.Tree{".": f.dirs[folder]}
	f.filters = f.filters.In(folder)
	absent := f.absent
	f.absent = func(kind string, hash plumbing.Hash, name string) error {
		return absent(kind, hash, path.Join(folder, name))
	}
	return nil
}
