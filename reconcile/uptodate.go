package reconcile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// A pass that has nothing to do takes as long as the fleet is large, and most passes have nothing to do. So a whole
// pass leaves a record in the cache: for this commit, tree and program (which holds the schema), and this head of this
// store, there is nothing to publish until a certain time. A later pass that finds the record, the very same
// timestamp and the snapshot that it names at the head, believes it.
//
// What it does without is looking at the other objects of a store that it is not about to build upon, of which a large
// fleet has hundreds of thousands: hosts and servers verify what they read in any case, `store fsck` looks for damage,
// and a pass with --full bakes what is missing. A record is believed for a day at most.

// maxBelieved is how long a record is believed.
const maxBelieved = 24 * time.Hour

// record is what a whole pass found.
type record struct {
	Head      int64         `json:"head"`
	Timestamp schema.Digest `json:"timestamp"` // of the bytes
	Until     time.Time     `json:"until"`     // when something has to be renewed
	Checked   time.Time     `json:"checked"`
	Outcome   Outcome       `json:"outcome"` // of a pass that publishes nothing
	Log       string        `json:"log"`     // the warnings
}

// upToDate finds and leaves records. The nil *upToDate does neither.
type upToDate struct {
	cache *cache.Cache
	parts []string // of the record's name
}

// upToDate is nil if this pass is to be a whole one in any case and leave no record.
func (p *pass) upToDate() (*upToDate, error) {
	if p.head.Cache == nil || p.bound != nil {
		return nil, nil
	}
	where, err := stores.Absolute(p.Store)
	if err != nil {
		return nil, err
	}
	parts := []string{p.head.Revision.Commit, p.head.Revision.Tree, where, p.Version}
	signers, err := signersOf(p.verifier)
	if err != nil {
		return nil, err
	}
	parts = append(parts, signers...)
	return &upToDate{p.head.Cache, parts}, nil
}

const recordKind = "nothing to publish"

// find returns what a pass over the store can tell without doing it again; nil if it has to be done.
func (u *upToDate) find(ctx context.Context, location string, now time.Time) (*record, error) {
	if u == nil {
		return nil, nil
	}
	text, ok := u.cache.Find(recordKind, u.parts...)
	var r record
	if !ok || json.Unmarshal([]byte(text), &r) != nil ||
		now.Before(r.Checked) || now.Sub(r.Checked) > maxBelieved || !now.Before(r.Until) {
		return nil, nil
	}
	st, err := stores.OpenExisting(ctx, location)
	if err != nil {
		return nil, nil // the whole pass says it
	}
	head, timestamp, err := headOf(ctx, st)
	if err != nil {
		return nil, err
	}
	if head != r.Head || timestamp != r.Timestamp {
		return nil, nil
	}
	if !snapshotStands(ctx, st, head) {
		return nil, nil // the whole pass says it
	}
	r.Outcome.Checked = &r.Checked
	return &r, nil
}

// leave records that after this pass there is nothing to publish.
func (u *upToDate) leave(ctx context.Context, p *pass, out *Outcome, due time.Time, log string) error {
	if u == nil || out.Timestamp == 0 {
		return nil
	}
	head, timestamp, err := headOf(ctx, p.store)
	if err != nil || head != out.Timestamp {
		return err // another pass has published since
	}
	r := record{Head: head, Timestamp: timestamp, Until: due, Checked: p.now.UTC(), Log: log,
		Outcome: Outcome{Commit: out.Commit, Verified: out.Verified, Release: out.Release, Timestamp: out.Timestamp,
			Hosts: out.Hosts, Reused: out.Reused + len(out.Packages), Aging: out.Aging}}
	if out.Published && out.Verified != nil {
		r.Outcome.Verified = &source.Verified{Since: out.Commit, Commits: 1, Signers: []string{p.verifier.Head.Signer}}
	}
	b, err := json.Marshal(r)
	if err == nil {
		u.cache.Keep(b, recordKind, u.parts...)
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

// snapshotStands reports whether the snapshot that the head names is there as it names it.
func snapshotStands(ctx context.Context, st store.Store, head int64) bool {
	b, err := store.Read(ctx, st, schema.TimestampKey(head), schema.MaxTimestamp)
	var timestamp struct {
		Signed struct {
			Meta map[string]struct {
				Version int64             `json:"version"`
				Hashes  map[string]string `json:"hashes"`
			} `json:"meta"`
		} `json:"signed"`
	}
	if err != nil || json.Unmarshal(b, &timestamp) != nil {
		return false
	}
	named := timestamp.Signed.Meta["snapshot.json"]
	snapshot, err := store.Read(ctx, st, schema.MetadataKey("snapshot", named.Version), schema.MaxSnapshot)
	return err == nil && (len(named.Hashes) == 0 && json.Valid(snapshot) || schema.DigestOf(snapshot).Hex() ==
		named.Hashes["sha256"])
}

// unlessUpToDate does the pass, unless a record says that there is nothing to do.
func (p *pass) unlessUpToDate(ctx context.Context, log io.Writer) (*Outcome, error) {
	u, err := p.upToDate()
	if err != nil {
		return nil, err
	}
	if !p.Full && !p.Init && p.Recovery == (publish.Recovery{}) {
		found, err := u.find(ctx, p.Store, p.now)
		if err != nil {
			return nil, err
		}
		if found != nil {
			_, err := io.WriteString(log, found.Log)
			return &found.Outcome, err
		}
	}
	var warnings bytes.Buffer
	out, due, err := p.whole(ctx, io.MultiWriter(log, &warnings))
	if err != nil {
		return nil, err
	}
	if err := u.leave(ctx, p, out, due, warnings.String()); err != nil {
		console.Note(log, "%v", err)
	}
	return out, nil
}

// openStore opens the store, which must have a release unless this pass is to publish the first: neither a typo nor a
// disk that is not mounted creates a second store that starts again from release 1.
func (p *pass) openStore(ctx context.Context) (err error) {
	open := stores.OpenExisting
	if p.Init {
		open = stores.Open
	}
	var head int64
	if p.store, err = open(ctx, p.Store); err == nil {
		head, err = store.Head(ctx, p.store)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && head == 0 && !p.Init:
		return fault.Hint(fmt.Errorf("store %s has no release", p.Store),
			"check --store and that its disk is mounted; for the first release of a fleet run with --init")
	case err == nil && head > 0 && p.Init:
		return fault.Hint(fmt.Errorf("store %s has releases already: its timestamp is %d", p.Store, head),
			"run without --init, which is for the first release of a fleet")
	}
	return err
}

// whole evaluates the fleet and does the pass, with the store locked. It also says when something will have to be
// renewed.
func (p *pass) whole(ctx context.Context, log io.Writer) (out *Outcome, due time.Time, err error) {
	if err := p.head.Evaluate(ctx); err != nil {
		return nil, due, err
	}
	p.head.Warn(log, p.now)
	if err := p.openStore(ctx); err != nil {
		return nil, due, err
	}
	held, release, err := store.WithLock(ctx, p.store, "reconcile")
	if err != nil {
		return nil, due, err
	}
	p.store = held
	out, due, err = p.run(ctx)
	if err == nil {
		warnAging(log, out.Aging)
	}
	return out, due, errors.Join(err, release())
}
