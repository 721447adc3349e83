// Package gitdir opens git directories as git users have them: with any settings of branches and remotes, with the
// extensions that do not concern who only reads, linked to work trees, and borrowing objects from other repositories.
//
// Of .git/config counts what says how the repository is stored, and for the note on uncommitted files what says how
// its work tree is compared. What cannot be read is refused with what to do about it.
package gitdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/schema/fault"
)

// Repo is an opened repository.
type Repo struct {
	Top     string // of the work tree; empty for a bare repository
	Dir     string // git directory of this work tree
	Common  string // git directory that all its work trees share: Dir, but for linked ones
	Config  Config // the repository's own
	Objects *Objects
}

// ErrNone is returned where no repository is.
var ErrNone = errors.New("not in a git repository")

// Open opens what Locate found.
func Open(top, dir string) (*Repo, error) {
	common, err := CommonDir(dir)
	if err != nil {
		return nil, err
	}
	r := &Repo{Top: top, Dir: dir, Common: common}
	if err := r.readConfig(); err != nil {
		return nil, err
	}
	r.Objects, err = openObjects(filepath.Join(common, "objects"))
	return r, err
}

// Locate walks up to the work tree (or bare repository) that holds dir. top is empty for a bare repository.
func Locate(dir string) (top, gitDir string, err error) {
	for d := dir; ; d = filepath.Dir(d) {
		dot := filepath.Join(d, ".git")
		info, err := os.Stat(dot)
		switch {
		case err == nil && info.IsDir() && isGitDir(dot):
			return d, dot, nil
		case err == nil && info.Mode().IsRegular():
			gitDir, err := followFile(dot)
			return d, gitDir, err
		case isGitDir(d):
			return "", d, nil
		}
		if d == filepath.Dir(d) {
			return "", "", fault.Hint(fmt.Errorf("%s is %w", dir, ErrNone),
				"run `bakehouse init` to make a fleet repository, or name one with --repo DIR")
		}
	}
}

// followFile reads the .git file of a linked work tree or a submodule: "gitdir: PATH".
func followFile(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimRight(string(b), "\r\n"), "gitdir: ")
	if !ok {
		return "", fmt.Errorf("%s is not a git link file", file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	if !isGitDir(path) {
		return "", fault.Hint(fmt.Errorf("%s names the git directory %s, which is not there", file, path),
			"this is a linked work tree or a submodule: make its main repository accessible too, or run `git worktree "+
				"repair` there")
	}
	return path, nil
}

// CommonDir is the git directory that a work tree's own one belongs to: itself, but for linked work trees.
func CommonDir(gitDir string) (string, error) {
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

// isGitDir reports whether git would take dir for a git directory.
func isGitDir(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, "HEAD")); err != nil {
		return false
	}
	common, err := CommonDir(dir)
	if err != nil {
		return false
	}
	for _, name := range []string{"objects", "refs"} {
		if st, err := os.Stat(filepath.Join(common, name)); err != nil || !st.IsDir() {
			return false
		}
	}
	return true
}

// readable are the values of extensions under which commits, refs and blobs are stored as this program reads them;
// "*" is any. Others may say that they are stored in another way.
var readable = map[string]string{
	"noop": "*", "noop-v1": "*", "partialclone": "*", "preciousobjects": "*", "worktreeconfig": "*",
	"relativeworktrees": "*", "compatobjectformat": "*", "objectformat": "sha1", "refstorage": "files",
}

// readConfig reads the repository's configuration, and refuses a format that is not readable.
func (r *Repo) readConfig() error {
	file := filepath.Join(r.Common, "config")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if r.Config, err = parseConfig(data); err != nil {
		return fault.Hint(fmt.Errorf("%s:%w", file, err), "git does not read this file either: see `git config --list`")
	}
	version, _ := r.Config.Get("core", "", "repositoryformatversion")
	if version != "" && version != "0" && version != "1" {
		return fault.Hint(
			fmt.Errorf("%s: core.repositoryFormatVersion is %.20q, and 0 and 1 are supported", file, version),
			"clone the repository again with a git that makes these")
	}
	for _, name := range r.Config.keys("extensions") {
		value, _ := r.Config.Get("extensions", "", name)
		want, known := readable[name]
		switch {
		case known && (want == "*" || strings.EqualFold(value, want)), !known && version != "1":
		case name == "objectformat":
			return fault.Hint(
				fmt.Errorf("%s: its objects are named by %.20q: SHA-256 is not supported, only SHA-1",
					r.Common, value),
				"move the files to a repository with SHA-1 names: git init --object-format=sha1")
		case name == "refstorage":
			return fault.Hint(
				fmt.Errorf("%s: its refs are kept as %.20q, and only refs in files are supported", r.Common, value),
				"run `git refs migrate --ref-format=files`, or `git clone --ref-format=files`")
		default:
			return fault.Hint(fmt.Errorf("%s: unknown extension: extensions.%.60s", file, name),
				"make a plain clone: git clone --no-local %s DIR", r.Common)
		}
	}
	return nil
}

// Partial reports whether the clone was told to leave out objects that it would fetch when they are needed.
func (r *Repo) Partial() bool {
	if _, ok := r.Config.Get("extensions", "", "partialclone"); ok {
		return true
	}
	for _, s := range r.Config.entries {
		if s.section == "remote" && (s.key == "promisor" && !strings.EqualFold(s.value, "false") ||
			s.key == "partialclonefilter") {
			return true
		}
	}
	return false
}

// Shallow are the commits whose parents the clone lacks, by hash.
func (r *Repo) Shallow() []string {
	b, err := os.ReadFile(filepath.Join(r.Common, "shallow"))
	if err != nil {
		return nil
	}
	return strings.Fields(string(b))
}
