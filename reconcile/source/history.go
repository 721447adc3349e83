package source

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Parent is the first parent of rev, nil if it has none. For the merge of a pull request that is the branch it goes to.
func (r *Repo) Parent(rev *Revision) (*Revision, error) {
	c, err := r.load(plumbing.NewHash(rev.Commit))
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", rev.Commit, err)
	}
	if len(c.ParentHashes) == 0 {
		return nil, nil
	}
	parent, err := r.Revision(c.ParentHashes[0].String())
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("the parent of commit %.12s is not in this clone", rev.Commit),
			"fetch it: git fetch --deepen=1")
	}
	return parent, nil
}

// Loss is a file that the fleet had.
type Loss struct {
	Path   string // in the repository
	Folder string // of the fleet
	Last   string // the newest commit that has it
	By     string // the commit that deleted it; empty: it is gone from the work tree only
}

func (l *Loss) String() string {
	if l.By == "" {
		return fmt.Sprintf("commit %.12s has %s, and the work tree has not", l.Last, l.Path)
	}
	return fmt.Sprintf("commit %.12s deleted %s", l.By, l.Path)
}

// Restore is the command that brings it back.
func (l *Loss) Restore() string {
	spec := l.Path
	if l.Folder != "." {
		spec = ":/" + spec // wherever it is run
	}
	return fmt.Sprintf("git checkout %.12s -- %s", l.Last, spec)
}

// Lost finds a file of the fleet that matches pattern, as fs.Glob has it, and is not in now: in from, or else in its
// first parents, a thousand at most; nil if there is none.
func (r *Repo) Lost(now fs.FS, from *Revision, pattern string) *Loss {
	const most = 1000
	by := ""
	for range most {
		names, err := fs.Glob(from.FS, pattern)
		if err != nil {
			return nil
		}
		for _, name := range names {
			if _, err := fs.Stat(now, name); errors.Is(err, fs.ErrNotExist) {
				return &Loss{from.Path(name), from.Folder, from.Commit, by}
			}
		}
		by = from.Commit
		if from, err = r.Parent(from); err != nil || from == nil {
			return nil
		}
	}
	return nil
}

// LostHere is Lost for a work tree; nil also where there is no repository.
func LostHere(dir, pattern string) *Loss {
	r, err := Open(dir)
	if err != nil {
		return nil
	}
	head, err := r.Revision("HEAD")
	if err != nil {
		return nil
	}
	lost := r.Lost(os.DirFS(dir), head, pattern)
	if lost != nil && lost.Folder != r.below {
		return nil // of another fleet
	}
	return lost
}

// Messages are those of the commits that are reachable from the commit to but not from the commit from; only to's own
// if from is not known here. What a shallow clone lacks is left out.
func (r *Repo) Messages(from, to string) ([]string, error) {
	head, err := r.load(plumbing.NewHash(to))
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", to, err)
	}
	base, err := r.load(plumbing.NewHash(from))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return []string{head.Message}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", from, err)
	}
	old := map[plumbing.Hash]bool{}
	if err := each(object.NewCommitPreorderIter(base, nil, nil),
		func(c *object.Commit) { old[c.Hash] = true }); err != nil {
		return nil, err
	}
	var messages []string
	err = each(object.NewCommitPreorderIter(head, old, nil),
		func(c *object.Commit) { messages = append(messages, c.Message) })
	return messages, err
}

// each calls visit until history ends, also where a shallow clone's does.
func each(commits object.CommitIter, visit func(*object.Commit)) error {
	defer commits.Close()
	for {
		c, err := commits.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, plumbing.ErrObjectNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		visit(c)
	}
}

// Contains reports whether head is commit or descends from it; both are 40 hex digits. In a shallow clone that cannot
// tell, and of a commit that the repository lacks, it is an error.
func (r *Repo) Contains(head, commit string) (bool, error) {
	h, err := parseHash(head)
	if err != nil {
		return false, err
	}
	base, err := parseHash(commit)
	if err != nil {
		return false, err
	}
	if _, err := r.load(base); err != nil {
		return false, err
	}
	w := &walk{repo: r, head: h, nodes: map[plumbing.Hash]*node{}}
	if err := w.meet(h, fromHead); err != nil {
		return false, err
	}
	if err := w.meet(base, fromBase); err != nil {
		return false, err
	}
	for _, all := range []bool{false, true} { // with clocks far apart the short walk can miss it
		if err := w.run(all); err != nil {
			return false, err
		}
		if w.nodes[base].from&fromHead != 0 {
			return true, nil
		}
	}
	_, err = w.commits() // whether a shallow clone's cut is in the way
	return false, err
}

// Between lists the commits that head descends from (itself included) and base does not, parents first.
func (r *Repo) Between(base, head string) ([]string, error) {
	w, err := r.between(base, head)
	if err != nil {
		return nil, err
	}
	commits, err := w.commits()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, c := range commits {
		names = append(names, c.Hash.String())
	}
	return names, nil
}
