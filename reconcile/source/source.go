// Package source is the first step of a pass: it pins a git ref as a Revision and reads its tree straight from git
// objects, as an fs.FS. There is no checkout, so what is baked is exactly what was committed; a work tree that
// differs is named to the user, never used. Symbolic links and submodules are refused where they are met, because both
// would let a commit name bytes that it does not contain.
//
// Where the operator names who may sign commits (Signers, from files outside the repository), a Verifier checks the
// head before anything in its tree is read, and then every commit since the last published one.
package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"bakehouse/schema/fault"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// Repo is a local git repository, with or without a work tree. It is safe for one goroutine at a time; the FS of a
// Revision locks for itself.
type Repo struct {
	dir    string
	gitDir string
	git    *git.Repository
}

// Revision is one commit, pinned.
type Revision struct {
	Commit  string // 40 hex digits
	Tree    string // likewise
	Subject string
	Author  string    // "NAME <EMAIL>"
	Key     string    // that its signature names, unverified: an SSH key's fingerprint or an OpenPGP key's id; or empty
	Time    time.Time // committer's
	FS      fs.FS     // the tree; safe for concurrent use
}

// Open finds the repository at dir or above it.
func Open(dir string) (*Repo, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(abs); err != nil {
		return nil, fault.Hint(err, "name the fleet repository with --repo DIR")
	}
	top, gitDir, err := locate(abs)
	if err != nil {
		return nil, err
	}
	g, err := open(top, gitDir)
	if err != nil {
		return nil, fmt.Errorf("git repository %s: %w", abs, err)
	}
	return &Repo{dir: top, gitDir: gitDir, git: g}, nil
}

var errNoRepo = errors.New("not in a git repository")

// locate walks up to the work tree (or bare repository) that holds dir. top is empty for a bare repository.
func locate(dir string) (top, gitDir string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		dot := filepath.Join(d, ".git")
		info, err := os.Stat(dot)
		switch {
		case err == nil && info.IsDir():
			return d, dot, nil
		case err == nil:
			gitDir, err := followGitFile(dot)
			return d, gitDir, err
		case isBare(d):
			return "", d, nil
		}
		if d == filepath.Dir(d) {
			return "", "", fault.Hint(fmt.Errorf("%s is %w", dir, errNoRepo),
				"run `bakehouse init` to make a fleet repository, or name one with --repo DIR")
		}
	}
}

// followGitFile reads a linked work tree's .git file: "gitdir: PATH".
func followGitFile(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
	if !ok {
		return "", fmt.Errorf("%s is not a git link file", file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	return path, nil
}

// commonDir is the git directory that a work tree's own one belongs to: itself, but for linked work trees.
func commonDir(gitDir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(gitDir, "commondir"))
	if errors.Is(err, fs.ErrNotExist) {
		return gitDir, nil
	}
	if err != nil {
		return "", err
	}
	path := strings.TrimSpace(string(b))
	if !filepath.IsAbs(path) {
		path = filepath.Join(gitDir, path)
	}
	return path, nil
}

func isBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func open(top, gitDir string) (*git.Repository, error) {
	repoFS := osfs.New(gitDir)
	common, err := commonDir(gitDir)
	if err != nil {
		return nil, err
	}
	if common != gitDir {
		// A linked work tree keeps HEAD and the index for itself and everything else in the common directory.
		repoFS = dotgit.NewRepositoryFilesystem(repoFS, osfs.New(common))
	}
	// Open descriptors make reading 100,000 blobs out of packs three times faster. AlternatesFS: `git clone --shared`
	// names its objects by absolute path.
	storage := filesystem.NewStorageWithOptions(repoFS, cache.NewObjectLRUDefault(),
		filesystem.Options{KeepDescriptors: true, AlternatesFS: osfs.New("/", osfs.WithBoundOS()),
			LargeObjectThreshold: maxHeld})
	if top == "" {
		return git.Open(storage, nil)
	}
	return git.Open(storage, osfs.New(top))
}

// Dir is the top of the work tree, or empty for a bare repository.
func (r *Repo) Dir() string { return r.dir }

// Revision pins ref: a branch, tag, commit or HEAD.
func (r *Repo) Revision(ref string) (*Revision, error) {
	hash, err := r.git.ResolveRevision(plumbing.Revision(ref))
	if err != nil {
		if ref == "HEAD" && errors.Is(err, plumbing.ErrReferenceNotFound) {
			return nil, fault.Hint(errors.New("the repository has no commit yet"), "commit the fleet: git add -A && git commit")
		}
		return nil, fault.Hint(fmt.Errorf("ref %q: %w", ref, err),
			"list the refs with `git show-ref`, or leave --ref out for HEAD")
	}
	commit, err := r.load(*hash)
	if err != nil {
		return nil, fmt.Errorf("ref %q: %w", ref, err)
	}
	tree, err := readTree(r.git.Storer, commit.TreeHash)
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", commit.Hash, err)
	}
	subject, _, _ := strings.Cut(commit.Message, "\n")
	return &Revision{
		Commit:  commit.Hash.String(),
		Tree:    tree.Hash.String(),
		Subject: subject,
		Author:  commit.Author.Name + " <" + commit.Author.Email + ">",
		Key:     namedKey(commit.PGPSignature),
		Time:    commit.Committer.When,
		FS:      newTreeFS(r.git.Storer, tree, commit.Committer.When),
	}, nil
}

// Dirty lists the files of the work tree that differ from HEAD or are not tracked, sorted. A bare repository has none.
func (r *Repo) Dirty() ([]string, error) {
	w, err := r.git.Worktree()
	if errors.Is(err, git.ErrIsBareRepository) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	status, err := w.Status()
	if err != nil {
		return nil, fmt.Errorf("state of the work tree %s: %w", r.dir, err)
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
