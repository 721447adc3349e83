// Package status lists what of a work tree is not in the commit of HEAD, as `git status` does: what is staged, what
// differs from the index, and what is neither tracked nor ignored.
//
// No other program is run, not even git: a repository's configuration can name programs, and whoever reads a
// repository may hold keys. So what a filter (git-crypt) would make of a file is not known; a file under one counts as
// unchanged as long as it has the size that git saw. A file that keeps size and time counts as unchanged, as with
// core.trustctime=false.
package status

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"bakehouse/reconcile/source/gitdir"
	"bakehouse/reconcile/source/pattern"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Status is what is not in the commit, each list sorted. A directory of which nothing is tracked is listed itself, with
// a slash.
type Status struct {
	Unmerged []string // left by a merge that is not finished
	Changed  []string
}

// Of looks at a folder of the work tree, "." for all of it, and names paths as seen from there. A repository without a
// work tree has none.
func Of(r *gitdir.Repo, folder string) (s Status, err error) {
	config := r.Effective()
	if r.Top == "" || config.Bool("core", "bare", false) {
		return s, nil
	}
	if top := config.Path("core", "worktree"); top != "" {
		if !filepath.IsAbs(top) {
			top = filepath.Join(r.Dir, top)
		}
		if !sameDir(top, r.Top) {
			return s, nil // the files here are not those that git compares
		}
	}
	c := &comparison{repo: r, folder: folder, fold: config.Bool("core", "ignorecase", false), config: config,
		fileMode: config.Bool("core", "filemode", runtime.GOOS != "windows"),
		symlinks: config.Bool("core", "symlinks", runtime.GOOS != "windows"),
		sparse:   config.Bool("core", "sparsecheckout", false),
		tracked:  map[string]*entry{}, dirs: map[string]bool{}, done: map[string]bool{}, changed: map[string]bool{},
		unmerged: map[string]bool{}}
	c.untracked, _ = config.Get("status", "", "showuntrackedfiles")
	if err := c.readIndex(); err != nil {
		return s, err
	}
	if err := c.compareHead(); err != nil {
		return s, err
	}
	if err := c.compareFiles(); err != nil {
		return s, err
	}
	for name := range c.changed {
		if !c.unmerged[name] {
			s.Changed = append(s.Changed, c.relative(name))
		}
	}
	for name := range c.unmerged {
		s.Unmerged = append(s.Unmerged, c.relative(name))
	}
	slices.Sort(s.Changed)
	slices.Sort(s.Unmerged)
	return s, nil
}

// Submodules are the paths of other repositories in the work tree of a git directory, as its index has them.
func Submodules(gitDir string) (names []string, err error) {
	index, err := readIndex(gitDir)
	for _, e := range index.entries {
		if e.mode&kindMask == gitlink {
			names = append(names, e.name)
		}
	}
	return names, err
}

// comparison is one run of Of. Paths are seen from the top of the work tree.
type comparison struct {
	repo      *gitdir.Repo
	config    gitdir.Config
	folder    string
	fold      bool // names in other case are the same
	fileMode  bool // files have an executable bit
	symlinks  bool // there are symbolic links
	sparse    bool // files are left out on purpose
	untracked string

	index    index
	tracked  map[string]*entry
	dirs     map[string]bool // those that have tracked files
	done     map[string]bool // tracked files that were met
	changed  map[string]bool
	unmerged map[string]bool
	attrs    pattern.Attributes // of the directories that were read
}

func (c *comparison) within(name string) bool {
	return c.folder == "." || strings.HasPrefix(name, c.folder+"/")
}

func (c *comparison) relative(name string) string {
	if c.folder == "." {
		return name
	}
	return strings.TrimPrefix(name, c.folder+"/")
}

func (c *comparison) readIndex() (err error) {
	if c.index, err = readIndex(c.repo.Dir); err != nil {
		return err
	}
	for i := range c.index.entries {
		e := &c.index.entries[i]
		if !c.within(e.name) {
			continue
		}
		if e.stage != 0 {
			c.unmerged[e.name] = true
		}
		c.tracked[e.name] = e
		for dir := path.Dir(strings.TrimSuffix(e.name, "/")); !c.dirs[dir]; dir = path.Dir(dir) {
			c.dirs[dir] = true
		}
	}
	return nil
}

// compareHead notes what is staged.
func (c *comparison) compareHead() error {
	hash, _, err := c.repo.Ref("HEAD")
	if err != nil {
		return err
	}
	var staged = map[string]bool{}
	if hash != "" {
		commit, err := object.GetCommit(c.repo.Objects, plumbing.NewHash(hash))
		if err != nil {
			return err
		}
		tree := commit.TreeHash
		if c.folder != "." {
			root, err := object.GetTree(c.repo.Objects, tree)
			if err != nil {
				return err
			}
			e, err := root.FindEntry(c.folder)
			if err != nil || e.Mode != filemode.Dir {
				tree = plumbing.ZeroHash
			} else {
				tree = e.Hash
			}
		}
		if !tree.IsZero() {
			if err := c.compareTree(tree, c.folder, staged); err != nil {
				return err
			}
		}
	}
	for name := range c.tracked {
		if !staged[name] {
			c.changed[name] = true
		}
	}
	return nil
}

// compareTree compares a tree of HEAD with the index, and notes in met which entries it has.
func (c *comparison) compareTree(hash plumbing.Hash, dir string, met map[string]bool) error {
	tree, err := object.GetTree(c.repo.Objects, hash)
	if err != nil {
		return err
	}
	for _, t := range tree.Entries {
		name := path.Join(dir, t.Name)
		if t.Mode == filemode.Dir {
			if e := c.tracked[name+"/"]; e != nil && e.mode&kindMask == sparse {
				met[e.name] = true
				if e.hash != t.Hash {
					c.changed[e.name] = true
				}
			} else if err := c.compareTree(t.Hash, name, met); err != nil {
				return err
			}
			continue
		}
		e := c.tracked[name]
		if e == nil || e.hash != t.Hash || !sameMode(filemode.FileMode(e.mode), t.Mode) {
			c.changed[name] = true
		}
		met[name] = true
	}
	return nil
}

// sameMode takes 0664, which old versions of git wrote, for 0644.
func sameMode(a, b filemode.FileMode) bool {
	if a == filemode.Deprecated {
		a = filemode.Regular
	}
	if b == filemode.Deprecated {
		b = filemode.Regular
	}
	return a == b
}

// compareFiles notes what of the work tree differs from the index.
func (c *comparison) compareFiles() error {
	rules := c.rulesOf(c.config.Path("core", "excludesfile"), "ignore")
	rules = append(rules, c.rulesOf(filepath.Join(c.repo.Common, "info", "exclude"), "")...)
	c.attrs = c.attributesOf(c.config.Path("core", "attributesfile"), "attributes")
	ignored := false
	if c.folder != "." {
		at := ""
		for part := range strings.SplitSeq(c.folder, "/") {
			rules = append(rules, c.readDirRules(at)...)
			at = path.Join(at, part)
			ignored = ignored || rules.Match(at, true)
		}
	}
	dir := c.folder
	if dir == "." {
		dir = ""
	}
	if err := c.walk(dir, rules, ignored); err != nil {
		return err
	}
	for name, e := range c.tracked {
		if !c.done[name] && !e.assumed && !e.skip && e.mode&kindMask != sparse {
			c.changed[name] = true
		}
	}
	return nil
}

func (c *comparison) file(name string) string {
	return filepath.Join(c.repo.Top, filepath.FromSlash(name))
}

// rulesOf reads a file of ignore rules for the whole work tree; without a name, the user's.
func (c *comparison) rulesOf(file, user string) pattern.Ignore {
	if file == "" {
		file = gitdir.UserFile(user)
	}
	data, _ := os.ReadFile(file)
	return pattern.ParseIgnore(data, "", c.fold)
}

func (c *comparison) attributesOf(file, user string) pattern.Attributes {
	if file == "" {
		file = gitdir.UserFile(user)
	}
	data, _ := os.ReadFile(file)
	return pattern.ParseAttributes(data, "", c.fold)
}

// readDirRules reads the rules and attributes of a directory.
func (c *comparison) readDirRules(dir string) pattern.Ignore {
	if data, err := os.ReadFile(c.file(path.Join(dir, ".gitattributes"))); err == nil {
		c.attrs = append(c.attrs, pattern.ParseAttributes(data, dir, c.fold)...)
	}
	data, _ := os.ReadFile(c.file(path.Join(dir, ".gitignore")))
	return pattern.ParseIgnore(data, dir, c.fold)
}

// walk compares a directory that has tracked files, or is the folder itself. ignored says that nothing untracked in it
// counts.
func (c *comparison) walk(dir string, rules pattern.Ignore, ignored bool) error {
	list, err := os.ReadDir(c.file(dir))
	if err != nil {
		return err
	}
	rules = slices.Concat(rules, c.readDirRules(dir))
	for _, e := range list {
		name := path.Join(dir, e.Name())
		if isDotGit(e.Name()) {
			continue
		}
		if t := c.tracked[name]; t != nil {
			c.done[name] = true
			differs, err := c.differs(t, e)
			if err != nil {
				return err
			}
			if differs {
				c.changed[name] = true
			}
			continue
		}
		inIgnored := ignored || rules.Match(name, e.IsDir())
		switch {
		case e.IsDir() && c.dirs[name]:
			if err := c.walk(name, rules, inIgnored); err != nil {
				return err
			}
		case inIgnored || c.untracked == "no" || c.untracked == "false":
		case e.IsDir():
			c.walkUntracked(name, rules)
		case e.Type().IsRegular() || e.Type() == fs.ModeSymlink:
			c.changed[name] = true
		}
	}
	return nil
}

// walkUntracked notes a directory without tracked files if it has one that is not ignored, and reports whether it has.
func (c *comparison) walkUntracked(dir string, rules pattern.Ignore) bool {
	if top, _, err := gitdir.Locate(c.file(dir)); err == nil && top == c.file(dir) {
		c.changed[dir+"/"] = true // another repository
		return true
	}
	list, err := os.ReadDir(c.file(dir))
	if err != nil {
		return false // as git, which warns
	}
	data, _ := os.ReadFile(c.file(path.Join(dir, ".gitignore")))
	rules = slices.Concat(rules, pattern.ParseIgnore(data, dir, c.fold))
	found := false
	for _, e := range list {
		name := path.Join(dir, e.Name())
		switch {
		case isDotGit(e.Name()), rules.Match(name, e.IsDir()):
		case e.IsDir():
			found = c.walkUntracked(name, rules) || found
			if c.untracked != "all" {
				delete(c.changed, name+"/")
			}
		case e.Type().IsRegular() || e.Type() == fs.ModeSymlink:
			found = true
			if c.untracked == "all" {
				c.changed[name] = true
			}
		}
		if found && c.untracked != "all" {
			break
		}
	}
	if found && c.untracked != "all" {
		c.changed[dir+"/"] = true
	}
	return found
}

// isDotGit reports whether git would take no file of that name.
func isDotGit(name string) bool { return strings.EqualFold(name, ".git") }

func sameDir(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// differs reports whether a file is another than its entry in the index says.
func (c *comparison) differs(t *entry, e fs.DirEntry) (bool, error) {
	if t.assumed || t.skip && !c.sparse || t.stage != 0 {
		return false, nil
	}
	kind := t.mode & kindMask
	if kind == gitlink {
		return e.IsDir() && c.otherCommit(t), nil
	}
	if e.IsDir() {
		return true, nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	isLink := info.Mode()&fs.ModeSymlink != 0
	switch {
	case isLink && kind != link, !isLink && !info.Mode().IsRegular():
		return true, nil
	case !isLink && kind == link && c.symlinks:
		return true, nil
	case !isLink && kind == regular && c.fileMode && (t.mode&0o100 != 0) != (info.Mode()&0o100 != 0):
		return true, nil
	}
	racy := !t.mtime.Before(c.index.written)
	if uint32(info.Size()) == t.size && info.ModTime().Equal(t.mtime) && !racy {
		return false, nil
	}
	return c.otherContent(t, info, isLink)
}

// otherCommit reports whether a submodule is at another commit than the one that is committed.
func (c *comparison) otherCommit(t *entry) bool {
	top, dir, err := gitdir.Locate(c.file(t.name))
	if err != nil || !sameDir(top, c.file(t.name)) {
		return false // not checked out
	}
	common, err := gitdir.CommonDir(dir)
	if err != nil {
		return false
	}
	hash, _, err := (&gitdir.Repo{Dir: dir, Common: common}).Ref("HEAD")
	return err == nil && hash != plumbing.Hash(t.hash).String()
}
