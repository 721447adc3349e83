package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/serve/store"
)

// A pass that has nothing to do takes as long as the fleet is large, and most passes have nothing to do. So a whole pass
// leaves a note in the cache: for this commit, tree and program (which holds the schema), and this head of this store, there
// is nothing to publish until a certain time. A later pass that finds the note, and the very same timestamp at the head,
// believes it.
//
// What it does without is looking for damage in a store that it is not about to build upon: hosts and servers verify what
// they read in any case, and `store fsck` looks for it. A note is believed for a day at most.

// maxIdle is how long a note is believed.
const maxIdle = 24 * time.Hour

// note is what a whole pass found.
type note struct {
	Head      int64         `json:"head"`
	Timestamp schema.Digest `json:"timestamp"` // of the bytes
	Until     time.Time     `json:"until"`     // when something has to be renewed
	Checked   time.Time     `json:"checked"`
	Outcome   Outcome       `json:"outcome"` // as a pass that publishes nothing would tell it
	Log       string        `json:"log"`     // the warnings
}

// idle finds and leaves notes. The nil *idle does neither.
type idle struct {
	cache *cache.Cache
	parts []string // of the note's name
}

// idleFor is nil if this pass is to be a whole one in any case and leave no note.
func (p *pass) idleFor() (*idle, error) {
	if p.head.Cache == nil || p.bound != nil {
		return nil, nil
	}
	where, err := filepath.Abs(p.location)
	if err != nil {
		return nil, err
	}
	parts := []string{p.head.Revision.Commit, p.head.Revision.Tree, where, p.version}
	if p.gate != nil {
		parts = append(parts, p.gate.check.start)
		for _, file := range []string{p.gate.check.allowed, p.gate.check.keyring} {
			var b []byte
			if file != "" {
				if b, err = os.ReadFile(file); err != nil {
					return nil, err
				}
			}
			parts = append(parts, schema.DigestOf(b).Hex())
		}
	}
	return &idle{p.head.Cache, parts}, nil
}

const notes = "nothing to publish"

// find returns what a pass over the store can tell without doing it again; nil if it has to be done.
func (i *idle) find(ctx context.Context, location string, now time.Time) (*note, error) {
	if i == nil {
		return nil, nil
	}
	text, ok := i.cache.Find(notes, i.parts...)
	var n note
	if !ok || json.Unmarshal([]byte(text), &n) != nil || now.Before(n.Checked) || now.Sub(n.Checked) > maxIdle || !now.Before(n.Until) {
		return nil, nil
	}
	st, err := store.OpenExisting(ctx, location)
	if err != nil {
		return nil, nil // the whole pass says it
	}
	head, timestamp, err := headOf(ctx, st)
	if err != nil {
		return nil, err
	}
	if head != n.Head || timestamp != n.Timestamp {
		return nil, nil
	}
	n.Outcome.Checked = &n.Checked
	return &n, nil
}

// leave notes that after this pass there is nothing to publish.
func (i *idle) leave(ctx context.Context, p *pass, out *Outcome, due time.Time, log string) error {
	if i == nil || out.Timestamp == 0 {
		return nil
	}
	head, timestamp, err := headOf(ctx, p.store)
	if err != nil || head != out.Timestamp {
		return err // another pass has published since
	}
	n := note{Head: head, Timestamp: timestamp, Until: due, Checked: p.now.UTC(), Log: log, Outcome: Outcome{
		Commit: out.Commit, Verified: out.Verified, Release: out.Release, Timestamp: out.Timestamp, Hosts: out.Hosts, Reused: out.Reused + len(out.Packages), Aging: out.Aging}}
	if out.Published && out.Verified != nil {
		n.Outcome.Verified = &Verified{Since: out.Commit, Commits: 1, Signers: []string{p.gate.head.Signer}}
	}
	b, err := json.Marshal(n)
	if err == nil {
		i.cache.Keep(b, notes, i.parts...)
	}
	return err
}

func headOf(ctx context.Context, st store.Store) (int64, schema.Digest, error) {
	head, err := store.Head(ctx, st)
	if err != nil || head == 0 {
		return 0, schema.Digest{}, err
	}
	b, err := store.Read(ctx, st, schema.TimestampKey(head), schema.MaxTimestamp)
	return head, schema.DigestOf(b), err
}

// unlessIdle does the pass, unless a note says that there is nothing to do.
func (p *pass) unlessIdle(ctx context.Context, log io.Writer) (*Outcome, error) {
	i, err := p.idleFor()
	if err != nil {
		return nil, err
	}
	if !p.full && p.recovery == (publish.Recovery{}) {
		n, err := i.find(ctx, p.location, p.now)
		if err != nil {
			return nil, err
		}
		if n != nil {
			_, err := io.WriteString(log, n.Log)
			return &n.Outcome, err
		}
	}
	var warnings bytes.Buffer
	out, due, err := p.whole(ctx, io.MultiWriter(log, &warnings))
	if err != nil {
		return nil, err
	}
	if err := i.leave(ctx, p, out, due, warnings.String()); err != nil {
		fmt.Fprintf(log, "bakehouse: note: %v\n", err)
	}
	return out, nil
}

// whole evaluates the fleet and does the pass, with the store locked. It also says when something will have to be renewed.
func (p *pass) whole(ctx context.Context, log io.Writer) (out *Outcome, due time.Time, err error) {
	if err := p.head.Evaluate(ctx); err != nil {
		return nil, due, err
	}
	p.head.Warn(log, p.now)
	open := store.Open
	if p.bound != nil && p.bound.Head > 0 {
		open = store.OpenExisting // a wrong name shall not leave an empty store behind
	}
	if p.store, err = open(ctx, p.location); err != nil {
		return nil, due, err
	}
	release, err := store.Lock(ctx, p.store)
	if err != nil {
		return nil, due, err
	}
	out, due, err = p.run(ctx)
	if err == nil {
		warnAging(log, out.Aging)
	}
	return out, due, errors.Join(err, release())
}
