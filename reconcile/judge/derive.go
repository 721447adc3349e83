package judge

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// release judges a state that says something new.
func (j *Judge) release(ctx context.Context, v *Verdict, next *publish.State) error {
	r := next.Release()
	if r.Tool != j.Tool || r.Bake != bake.Version {
		v.foreign = fmt.Sprintf("bakehouse %s with bake version %d made it, this one is %s with %d", r.Tool, r.Bake,
			j.Tool, bake.Version)
	}
	j.clock(v, "issued", r.Issued)
	before := ""
	if j.prev != nil {
		before = j.prev.Commit()
	}
	s, err := j.branch.wants(ctx, v, r, before)
	if s == nil || err != nil {
		return err
	}
	want, err := s.Wanted(nil, r.Tool, r.Issued)
	if err != nil {
		return err
	}
	want.Release.Bake = r.Bake
	if err := j.packages.compare(ctx, v, s, next); err != nil {
		return err
	}
	want.Assignments = j.hosts(v, want.Assignments, next)
	if j.prev == nil {
		found, err := j.alone(s.Fleet, want, next)
		v.differs(found...)
		return err
	}
	found, err := j.after(ctx, v, s.Fleet, want, next)
	if err != nil {
		return err
	}
	if gap := next.Head() - j.prev.Head() - 1; len(found) > 0 && gap > 0 && !recovered(j.prev, r) {
		// Others were published between the two, of which the store has nothing any more. gc keeps all but renewals,
		// but a person may give a state up.
		kept, err := j.alone(s.Fleet, want, next)
		if err != nil {
			return err
		}
		v.unjudged("", "previous", "the store lacks %d timestamps before this one, and without them it does not "+
			"follow: %s", gap, found[0])
		found = kept
	}
	v.differs(found...)
	return nil
}

// clock holds a time of issue against what else is known of time.
func (j *Judge) clock(v *Verdict, field string, issued time.Time) {
	switch {
	case issued.Sub(j.Now) > clockSlack:
		v.alarm("", field, "%s is in the future", stamp(issued))
	case !j.Seen.IsZero() && j.Seen.Sub(issued) > clockSlack:
		v.alarm("", field, "it says %s, and at %s it was not there", stamp(issued), stamp(j.Seen))
	}
}

// hosts sees to it that the same hosts are wanted and published, and returns those that are, with the packages
// published: whether these are right is packages' question.
func (j *Judge) hosts(v *Verdict, want []schema.Assignment, next *publish.State) (both []schema.Assignment) {
	wanted := map[string]bool{}
	for _, w := range want {
		wanted[w.Host] = true
		a := next.Assignments()[w.Host]
		if a == nil {
			v.differs(Entry{w.Host, "host", "the commit has it, and the release does not"})
			continue
		}
		w.SHA256, w.Length, w.Manifest, w.Recipe = a.SHA256, a.Length, a.Manifest, a.Recipe
		both = append(both, w)
	}
	for a := range next.InOrder() {
		if !wanted[a.Host] {
			v.differs(Entry{a.Host, "host", "the commit has no such host"})
		}
	}
	return both
}

// recoveryGap is below what a recovery steps over.
const recoveryGap = 1000

// recovered reports whether numbers jump as after `reconcile recover --above`.
func recovered(prev *publish.State, r *schema.Release) bool {
	return r.Number > prev.Number()+recoveryGap
}

// after says what does not follow from the state before, in the way that comes closest: as any release, or as one that
// carries nothing forward but numbers (`reconcile recover`).
func (j *Judge) after(
	ctx context.Context, v *Verdict, f *fleet.Fleet, want publish.Wanted, next *publish.State,
) (best []Entry, err error) {
	r := next.Release()
	minVersion := int64(0)
	if v.Restored = recovered(j.prev, r); v.Restored {
		minVersion = r.Number
	}
	for _, reset := range []bool{false, true} {
		prev, err := j.prev.As(f, minVersion, reset)
		if err != nil {
			return nil, err
		}
		n, err := prev.Next(want, r.Issued)
		var found []Entry
		if err != nil {
			found = []Entry{{"", "issued", err.Error()}}
		} else if found, err = compare(ctx, j.reader, j.Now, n, prev, next); err != nil {
			return nil, err
		}
		if !reset || len(found) < len(best) {
			best, v.Reset = found, reset
		}
		if len(best) == 0 || j.prev.Head() == 0 {
			break
		}
	}
	return best, nil
}

// alone says what does not follow from the commit, of a state whose predecessor is not known: release numbers, since
// and older candidates are taken as they are.
func (j *Judge) alone(f *fleet.Fleet, want publish.Wanted, next *publish.State) ([]Entry, error) {
	self, err := next.As(f, 0, false)
	if err != nil {
		return nil, err
	}
	n, err := self.Next(want, next.Release().Issued)
	if err != nil {
		return []Entry{{"", "issued", err.Error()}}, nil
	}
	return contents(n, next)
}

// renewal judges a state that says what the one before did.
func (j *Judge) renewal(ctx context.Context, v *Verdict, next *publish.State) error {
	var best []Entry
	var issued time.Time
	first := true
	for f := range j.terms(ctx, next.Release().Commit) {
		prev, err := j.prev.As(f, 0, false)
		if err != nil {
			continue // the newest root lacks signatures yet
		}
		at := next.Expires(metadata.TIMESTAMP).Add(-f.Lifetimes.Timestamp)
		var found []Entry
		if n, err := prev.Next(prev.Same(), at); err != nil {
			found = []Entry{{"", "issued", err.Error()}}
		} else if found, err = compare(ctx, j.reader, j.Now, n, prev, next); err != nil {
			return err
		}
		if first || len(found) < len(best) {
			best, issued = found, at
		}
		if first = false; len(best) == 0 {
			break
		}
	}
	v.differs(best...)
	j.clock(v, "expires", issued)
	return ctx.Err()
}

// terms yields the lifetimes and roots by which the release of a commit may have been renewed: those of the commit, of
// the head, and of any between, with the roots there or those already published.
func (j *Judge) terms(ctx context.Context, commit string) iter.Seq[*fleet.Fleet] {
	type term struct {
		life  fleet.Lifetimes
		roots int
	}
	return func(yield func(*fleet.Fleet) bool) {
		tried := map[term]bool{}
		try := func(commit string) (more bool) {
			f := j.top
			if commit != j.Head.Commit() {
				rev, err := j.Head.Repo.Revision(commit)
				if err != nil {
					return true // the verdict on its release said so
				}
				if f, err = evaluate.LoadTop(ctx, rev.FS); err != nil {
					return true
				}
			}
			for _, n := range []int{j.prev.Roots(), len(f.Roots)} {
				only := *j.top
				only.Lifetimes, only.Roots = f.Lifetimes, j.top.Roots[:min(n, len(j.top.Roots))]
				t := term{only.Lifetimes, len(only.Roots)}
				if !tried[t] && !yield(&only) {
					return false
				}
				tried[t] = true
			}
			return true
		}
		if !try(commit) || !try(j.Head.Commit()) {
			return
		}
		between, err := j.Head.Repo.Between(commit, j.Head.Commit())
		if err != nil {
			return
		}
		for _, c := range slices.Backward(between) {
			if !try(c) {
				return
			}
		}
	}
}
