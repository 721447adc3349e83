package source

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"

	"bakehouse/schema/fault"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// walk finds the commits that are reachable from head and not from base. It goes from newer commits to older ones on
// both sides at once and stops where nothing is left that only head reaches, so that a long history costs nothing.
type walk struct {
	repo  *Repo
	head  plumbing.Hash
	nodes map[plumbing.Hash]*node
	queue byTime
	open  int // queued nodes that only head reaches so far
}

// node is a commit that was met.
type node struct {
	hash   plumbing.Hash
	commit *object.Commit // nil: the repository lacks it
	from   side
	queued bool
}

// side says which ends a commit is reachable from.
type side uint8

const (
	fromHead side = 1 << iota
	fromBase
)

// CheckCommit reports why a text is not a commit's full name.
func CheckCommit(commit string) error {
	_, err := parseHash(commit)
	return err
}

// parseHash takes a commit's full name only. A short one, or a ref that looks like a hash, would let whoever may push
// choose what it stands for.
func parseHash(commit string) (plumbing.Hash, error) {
	if !plumbing.IsHash(commit) {
		return plumbing.ZeroHash, fmt.Errorf("%.60q is not the 40 hex digits of a commit", commit)
	}
	return plumbing.NewHash(commit), nil
}

// between walks from head to base; an empty base is below every commit. It refuses a head that does not descend from
// base.
func (r *Repo) between(base, head string) (*walk, error) {
	h, err := parseHash(head)
	if err != nil {
		return nil, err
	}
	w := &walk{repo: r, head: h, nodes: map[plumbing.Hash]*node{}}
	if err := w.meet(h, fromHead); err != nil {
		return nil, err
	}
	if base == "" {
		return w, w.run(false)
	}
	b, err := parseHash(base)
	if err != nil {
		return nil, err
	}
	if err := w.meet(b, fromBase); err != nil {
		return nil, err
	}
	if w.nodes[b].commit == nil {
		return nil, r.lacks(fmt.Errorf("the repository lacks commit %s, from which on commits are to be verified", base))
	}
	if err := w.run(false); err != nil {
		return nil, err
	}
	if w.nodes[b].from&fromHead == 0 {
		err := fmt.Errorf("commit %s does not descend from commit %s, from which on commits are to be verified: history "+
			"was rewritten", head, base)
		if w.nodes[h].from&fromBase != 0 {
			err = fmt.Errorf("commit %s is older than commit %s, from which on commits are to be verified", head, base)
		}
		// A cut history may miss the very commits that connect the two.
		if _, cut := w.commits(); cut != nil {
			return nil, cut
		}
		return nil, fault.Refuse(err, "put the new commits on top of what is published; to go back, commit the reverse "+
			"(git revert)")
	}
	return w, nil
}

// lacks says what to do about a commit that is not there.
func (r *Repo) lacks(err error) error {
	if r.Shallow() {
		return fault.Refuse(fmt.Errorf("%w: the clone is shallow", err),
			"clone the whole history: `git fetch --unshallow`, or fetch-depth: 0 in the workflow's checkout step")
	}
	return fault.Refuse(err, "fetch it (git fetch); if it is gone, history was rewritten: put the new commits on top "+
		"of what is published")
}

// meet notes that hash is reachable from one more side, and queues it if that is news to its parents.
func (w *walk) meet(hash plumbing.Hash, from side) error {
	n := w.nodes[hash]
	if n == nil {
		c, err := w.repo.load(hash)
		if err != nil && !errors.Is(err, plumbing.ErrObjectNotFound) {
			return err
		}
		n = &node{hash: hash, commit: c}
		w.nodes[hash] = n
	}
	if n.from|from == n.from {
		return nil
	}
	if n.queued && n.from == fromHead {
		w.open--
	}
	n.from |= from
	if !n.queued {
		n.queued = true
		heap.Push(&w.queue, n)
	}
	if n.from == fromHead {
		w.open++
	}
	return nil
}

// run goes on until no queued commit is reachable from head only, or until the queue is empty.
func (w *walk) run(all bool) error {
	for w.open > 0 || all && len(w.queue) > 0 {
		n := heap.Pop(&w.queue).(*node)
		n.queued = false
		if n.from == fromHead {
			w.open--
		}
		if n.commit == nil {
			continue
		}
		for _, p := range n.commit.ParentHashes {
			if err := w.meet(p, n.from); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *walk) finish() error { return w.run(true) }

// commits lists what head reaches and base does not, parents before children. It refuses if some of it is missing.
func (w *walk) commits() ([]*object.Commit, error) {
	var order []*object.Commit
	done := map[plumbing.Hash]bool{}
	for todo := []plumbing.Hash{w.head}; len(todo) > 0; {
		at := todo[len(todo)-1]
		n := w.nodes[at]
		if done[at] || n.from != fromHead {
			todo = todo[:len(todo)-1]
			continue
		}
		if n.commit == nil {
			return nil, w.repo.lacks(fmt.Errorf("the repository lacks commit %s, which commit %s descends from", at, w.head))
		}
		before := len(todo)
		for _, p := range slices.Backward(n.commit.ParentHashes) {
			if !done[p] && w.nodes[p].from == fromHead {
				todo = append(todo, p)
			}
		}
		if len(todo) == before {
			done[at] = true
			order = append(order, n.commit)
			todo = todo[:len(todo)-1]
		}
	}
	return order, nil
}

// when is the time of a parent: what was settled for it, or else its committer's.
func (w *walk) when(hash plumbing.Hash, settled map[plumbing.Hash]time.Time) time.Time {
	if t, ok := settled[hash]; ok {
		return t
	}
	if n := w.nodes[hash]; n != nil && n.commit != nil {
		return n.commit.Committer.When
	}
	return time.Time{}
}

// byTime is a heap, the newest commit first; missing ones last.
type byTime []*node

func (q byTime) Len() int      { return len(q) }
func (q byTime) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *byTime) Push(n any)   { *q = append(*q, n.(*node)) }
func (q byTime) Less(i, j int) bool {
	a, b := q[i].commit, q[j].commit
	return a != nil && (b == nil || a.Committer.When.After(b.Committer.When))
}

func (q *byTime) Pop() any {
	last := len(*q) - 1
	n := (*q)[last]
	*q = (*q)[:last]
	return n
}
