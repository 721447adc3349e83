package reconcile

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/judge"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// What was judged is remembered in the cache, by the digest of the timestamp, so that a pass judges only what somebody
// else published since.

// memory remembers which states were judged. The nil *memory does not.
type memory struct {
	cache *cache.Cache
	kind  string
	parts []string // what a verdict depends on besides the state
}

const (
	// followed is the kind of a state that follows from the one before, and so may be built upon.
	followed = "judged: follows"
	// sound is the kind of a state before which, too, everything that the store keeps was clean.
	sound = "judged: clean throughout"
)

func newMemory(kind string, head *desired.State, v *source.CommitVerifier) (*memory, error) {
	if head.Cache == nil {
		return nil, nil
	}
	signers, err := signersOf(v)
	return &memory{head.Cache, kind, signers}, err
}

// signersOf names who may sign commits, as part of what a record depends on.
func signersOf(v *source.CommitVerifier) ([]string, error) {
	if v == nil {
		return nil, nil
	}
	parts := []string{v.Check.Start}
	for _, file := range []string{v.Check.Allowed, v.Check.Keyring} {
		var b []byte
		if file != "" {
			var err error
			if b, err = os.ReadFile(file); err != nil {
				return nil, err
			}
		}
		parts = append(parts, schema.DigestOf(b).Hex())
	}
	return parts, nil
}

func (m *memory) has(timestamp schema.Digest) bool {
	if m == nil {
		return false
	}
	_, ok := m.cache.Find(m.kind, append([]string{timestamp.Hex()}, m.parts...)...)
	return ok
}

func (m *memory) keep(timestamp schema.Digest) {
	if m != nil {
		m.cache.Keep(nil, m.kind, append([]string{timestamp.Hex()}, m.parts...)...)
	}
}

// last is the newest of the states that was judged, 0 if none is remembered.
func (m *memory) last(ctx context.Context, st store.Store, versions []int64) (int64, error) {
	if m == nil {
		return 0, nil
	}
	for _, v := range slices.Backward(versions) {
		b, err := store.Read(ctx, st, schema.TimestampKey(v), schema.MaxTimestamp)
		if err != nil {
			return 0, err
		}
		if m.has(schema.DigestOf(b)) {
			return v, nil
		}
	}
	return 0, nil
}

// newJudge judges by the pass's head.
func (p *pass) newJudge(ctx context.Context, more ...func(*judge.Options)) (*judge.Judge, error) {
	o := judge.Options{Head: p.head, Commits: p.verifier, Store: p.store, Programs: p.Programs, Jobs: p.Jobs,
		Tool: p.Version, Now: p.now, Log: p.log}
	for _, set := range more {
		set(&o)
	}
	return judge.Open(ctx, o)
}

// judgeHead judges what the pass is about to build upon: whatever was published since the state that this machine
// judged or published last. If it remembers none, that is the newest release, and what it carries over from before is
// taken as it is; `monitor` looks at every release.
func (p *pass) judgeHead(ctx context.Context, release *publish.State) error {
	if release.Release() == nil {
		return nil // nothing is carried over
	}
	head, timestamp, err := headOf(ctx, p.store)
	if err != nil {
		return err
	}
	mind, err := newMemory(followed, p.head, p.verifier)
	if err != nil {
		return err
	}
	if mind.has(timestamp) {
		// It was on the branch that was published then, which need not be this one.
		if ours, err := p.head.Repo.Contains(p.head.Commit(), release.Commit()); err == nil && ours {
			return nil
		}
		mind = nil
	}
	j, err := p.newJudge(ctx)
	if err != nil {
		return err
	}
	after, err := mind.last(ctx, p.store, j.Versions())
	if err == nil && after == 0 {
		after, err = j.BeforeRelease(ctx)
	}
	if err == nil && after > 0 {
		err = j.After(ctx, after)
	}
	if err != nil {
		return err
	}
	for {
		v, err := j.Next(ctx)
		if err != nil {
			return err
		}
		if v == nil {
			break
		}
		switch v.Status {
		case judge.Alarm:
			return p.alarmed(v)
		case judge.Unjudged:
			console.Note(p.log, "cannot judge what is published, and build upon it: %s", summary(v))
		default:
			if v.Timestamp == head {
				mind.keep(timestamp)
			}
		}
	}
	return nil
}

// alarmed refuses to build upon v. To a job that another one overtook, what that one published looks like what a thief
// publishes from a branch of their own: whether the newer commit was reviewed is not known here, so the hint has both.
func (p *pass) alarmed(v *judge.Verdict) error {
	const (
		atHead = "run it at the head of the branch"
		thief  = "find out who published it (bakehouse monitor), and take the keys from them (bakehouse root next); " +
			"then publish from the commit alone: bakehouse reconcile recover --after-alarm"
	)
	err := fmt.Errorf("what is published does not follow from a reviewed commit, and nothing is built upon it: %s",
		summary(v))
	if len(v.Alarms) > 1 || v.Alarms[0].Field != "commit" || source.CheckCommit(v.Commit) != nil {
		return fault.Refuse(err, thief)
	}
	head := p.head.Commit()
	if _, lacking := p.head.Repo.Revision(v.Commit); lacking != nil {
		return fault.Refuse(err, "another run may have been faster: git fetch, and "+atHead+
			"; if the commit does not exist then either: "+thief)
	}
	if newer, failed := p.head.Repo.Contains(v.Commit, head); failed == nil && newer && v.Commit != head {
		return fault.Refuse(
			fmt.Errorf("commit %.12s is older than what is published, and would take hosts back: release %d is of "+
				"commit %.12s, which descends from it", head, v.Release, v.Commit),
			atHead+"; to go back, commit the reverse there (git revert). If commit %.12s is not on the branch: "+thief,
			v.Commit)
	}
	return fault.Refuse(err, thief)
}

// remember notes that the head is this pass's own.
func (p *pass) remember(ctx context.Context, published int64) error {
	mind, err := newMemory(followed, p.head, p.verifier)
	if err != nil {
		return err
	}
	head, timestamp, err := headOf(ctx, p.store)
	if err == nil && head == published {
		mind.keep(timestamp)
	}
	return err
}

const maxEntries = 20

// summary is a verdict in an error or a note.
func summary(v *judge.Verdict) string {
	lines := v.Lines()
	if n := len(lines) - maxEntries; n > 0 {
		lines = append(lines[:maxEntries], fmt.Sprintf("  and %d more: bakehouse monitor", n))
	}
	return strings.Join(lines, "\n")
}

// walk judges all that the store keeps, or what came after the state that is remembered as sound throughout. It returns
// what is to be said: of every state that is not clean, and of the newest.
func (p *pass) walk(ctx context.Context, j *judge.Judge, mind *memory) (all []*judge.Verdict, err error) {
	after, err := mind.last(ctx, p.store, j.Versions())
	if err == nil && after > 0 {
		err = j.After(ctx, after)
	}
	if err != nil {
		return nil, err
	}
	for {
		v, err := j.Next(ctx)
		if err != nil || v == nil {
			return all, err
		}
		all = append(all, v)
		if v.Status == judge.Clean && len(v.Unknown) == 0 {
			mind.keep(v.SHA256)
		}
	}
}

// reader is a pass that publishes nothing: its head is pinned, its store is one that exists, and jobs are settled.
func (o Options) reader(ctx context.Context, log io.Writer) (p *pass, err error) {
	if o.Jobs, err = batch.Jobs(o.Jobs); err != nil {
		return nil, err
	}
	if p, err = o.pin(log); err != nil {
		return nil, err
	}
	p.store, err = stores.OpenExisting(ctx, o.Store)
	return p, err
}
