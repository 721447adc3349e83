package source

import (
	"errors"
	"fmt"
	"io"

	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Parent is the first parent of rev, nil if it has none. For the merge of a pull request that is the branch it goes to.
func (r *Repo) Parent(rev *Revision) (*Revision, error) {
	c, err := r.git.CommitObject(plumbing.NewHash(rev.Commit))
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

// Messages are those of the commits that are reachable from the commit to but not from the commit from; only to's own
// if from is not known here. What a shallow clone lacks is left out.
func (r *Repo) Messages(from, to string) ([]string, error) {
	head, err := r.git.CommitObject(plumbing.NewHash(to))
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", to, err)
	}
	base, err := r.git.CommitObject(plumbing.NewHash(from))
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
