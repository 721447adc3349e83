package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

// Judge walks through the states that a store keeps, the oldest first. It is for one goroutine.
type Judge struct {
	Options
	top      *fleet.Fleet // of the head: roots and lifetimes
	versions []int64      // of timestamps, rising
	reader   *publish.Reader

	at   int64          // version that was judged last, 0: none
	prev *publish.State // behind it

	branch   *branch
	packages *packages
	doubts   map[given]doubt
	commits  map[int64]string // by release
}

// given is a package that a release gave to a host.
type given struct {
	host    string
	release int64
	sha256  schema.Digest
}

// doubt is why a candidate does not count as given by a clean release.
type doubt struct{ status, reason string }

// unknown is the status of candidates from before the states that are kept.
const unknown = "unknown"

// Open lists what there is to judge.
func Open(ctx context.Context, o Options) (*Judge, error) {
	top, err := evaluate.LoadTop(ctx, o.Head.Files)
	if err != nil {
		return nil, err
	}
	j := &Judge{Options: o, top: top, reader: publish.NewReader(o.Store, top, o.Head.Cache), branch: newBranch(o, top),
		packages: newPackages(o), doubts: map[given]doubt{}, commits: map[int64]string{}}
	for e, err := range o.Store.List(ctx, schema.TimestampDir, "") {
		if err != nil {
			return nil, err
		}
		if v, ok := schema.ParseTimestampKey(e.Key); ok {
			j.versions = append(j.versions, v)
		}
	}
	slices.Sort(j.versions)
	if len(j.versions) == 0 {
		return nil, fault.Hint(errors.New("nothing is published that could be judged"),
			"publish a release first: bakehouse reconcile")
	}
	return j, nil
}

// Versions are those of the timestamps that the store keeps, rising.
func (j *Judge) Versions() []int64 { return j.versions }

// Roots says what of the store's roots is not the one in trust/ at the head.
func (j *Judge) Roots(ctx context.Context) (all []Entry, err error) {
	_, err = publish.CheckRoots(ctx, j.Store, j.top)
	if err == nil || ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return []Entry{{Field: "root", Reason: err.Error()}}, nil
}

// BeforeRelease is the version of the newest state of another release than the newest, 0 if the store keeps none.
func (j *Judge) BeforeRelease(ctx context.Context) (int64, error) {
	history, err := maintain.OpenHistory(ctx, j.Store, j.top.Roots[0])
	if err != nil {
		return 0, err
	}
	var newest *maintain.State
	for _, v := range history.Versions() {
		s, err := history.At(ctx, v)
		if err != nil {
			return 0, err
		}
		if newest == nil {
			newest = s
		}
		if s.Release != newest.Release {
			return v, nil
		}
	}
	return 0, nil
}

// After takes the state behind a timestamp, and all before it, as clean. If the store does not keep that state, the
// next one is judged without it.
func (j *Judge) After(ctx context.Context, version int64) error {
	j.at, j.prev = version, nil
	if version > 0 && !slices.Contains(j.versions, version) {
		return nil
	}
	s, err := j.reader.At(ctx, version)
	if err != nil {
		return err
	}
	j.prev = s
	for a := range s.InOrder() {
		for _, c := range a.Candidates() {
			j.packages.sound[c.Manifest] = true
		}
	}
	return nil
}

// Next judges the next state; nil after the newest.
func (j *Judge) Next(ctx context.Context) (*Verdict, error) {
	i, _ := slices.BinarySearch(j.versions, j.at+1)
	if i == len(j.versions) {
		return nil, nil
	}
	version := j.versions[i]
	text, err := store.Read(ctx, j.Store, schema.TimestampKey(version), schema.MaxTimestamp)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Hint(err, "gc deleted it just now: run again")
	}
	if err != nil {
		return nil, err
	}
	v := &Verdict{Timestamp: version, SHA256: schema.DigestOf(text), Alarms: []Entry{}, Unjudged: []Entry{},
		Unknown: []Entry{}}
	next, err := j.reader.At(ctx, version)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		v.alarm("", "metadata", "%v", err)
		v.settle()
		j.at, j.prev = version, nil
		return v, nil
	}
	if err := j.judge(ctx, v, next); err != nil {
		return nil, fmt.Errorf("%s: %w", schema.TimestampKey(version), err)
	}
	j.at, j.prev = version, next
	return v, nil
}

// judge judges the state that follows j.prev.
func (j *Judge) judge(ctx context.Context, v *Verdict, next *publish.State) error {
	r := next.Release()
	v.Release, v.Commit, v.Tool, v.Issued = r.Number, r.Commit, r.Tool, r.Issued
	if j.prev == nil && j.at == 0 && v.Timestamp == 1 {
		var err error
		if j.prev, err = j.reader.At(ctx, 0); err != nil {
			return err
		}
	}
	v.Renewal = j.prev != nil && j.prev.Listed(schema.ReleaseTarget) == next.Listed(schema.ReleaseTarget)
	j.signers(ctx, v, next)
	var err error
	if v.Renewal {
		err = j.renewal(ctx, v, next)
	} else {
		err = j.release(ctx, v, next)
	}
	if err != nil {
		return err
	}
	j.older(v, next)
	slices.SortStableFunc(v.Alarms, func(a, b Entry) int { return cmp.Compare(a.Host, b.Host) })
	v.settle()
	j.remember(v, next)
	return nil
}

// signers sees to it that nobody signs with keys that a root dropped before: one of the commit's time, or of the time
// of the state before.
func (j *Judge) signers(ctx context.Context, v *Verdict, next *publish.State) {
	least := 0
	if j.prev != nil {
		least = j.prev.Roots()
	}
	if rev, err := j.Head.Repo.Revision(v.Commit); err == nil {
		if f, err := evaluate.LoadTop(ctx, rev.FS); err == nil {
			least = max(least, min(len(f.Roots), len(j.top.Roots)))
		}
	}
	if n := next.Roots(); n < least {
		v.alarm("", "root", "keys signed it that root %d does not name any more", least)
	}
}

// remember notes which packages count from now on.
func (j *Judge) remember(v *Verdict, next *publish.State) {
	if v.Status != Alarm && !v.Renewal && j.commits[v.Release] == "" {
		j.commits[v.Release] = v.Commit
	}
	before := map[given]bool{}
	if j.prev != nil {
		for a := range j.prev.InOrder() {
			for _, c := range a.Candidates() {
				before[given{a.Host, c.Release, c.SHA256}] = true
			}
		}
	}
	doubts := map[given]doubt{}
	for a := range next.InOrder() {
		for i, c := range a.Candidates() {
			key := given{a.Host, c.Release, c.SHA256}
			d, doubtful := j.doubts[key]
			switch {
			case j.prev == nil && i > 0:
				d, doubtful = doubt{unknown, fmt.Sprintf("release %d gave it, before the states that the store keeps",
					c.Release)}, true
			case !before[key] && v.Status != Clean:
				d, doubtful = doubt{v.Status, fmt.Sprintf("release %d (timestamp %d) gave it, which is not clean",
					v.Release, v.Timestamp)}, true
			}
			if doubtful {
				doubts[key] = d
			}
		}
	}
	j.doubts = doubts
}

// CommitOf is the commit of a release that was judged, empty if it is not known.
func (j *Judge) CommitOf(release int64) string { return j.commits[release] }

// State is the state that was judged last, nil if it cannot be read.
func (j *Judge) State() *publish.State { return j.prev }

// Doubt is why a candidate of that state does not count as given by a clean release; empty if it does.
func (j *Judge) Doubt(host string, c schema.Candidate) string {
	return j.doubts[given{host, c.Release, c.SHA256}].reason
}

// Differences are how a package that was baked again differs from what its commit yields.
func (j *Judge) Differences(manifest schema.Digest) []string { return j.packages.differing[manifest] }

// Missing is what the store lacks of a package that was baked again and is what its commit yields; empty if nothing.
func (j *Judge) Missing(manifest schema.Digest) string { return j.packages.missing[manifest] }

// older says which older candidates were not given by a clean release.
func (j *Judge) older(v *Verdict, next *publish.State) {
	for a := range next.InOrder() {
		for i, c := range a.Candidates() {
			d, doubtful := j.doubts[given{a.Host, c.Release, c.SHA256}]
			if i == 0 && !doubtful {
				continue
			}
			if j.prev == nil && i > 0 && !doubtful {
				d, doubtful = doubt{unknown, "the states before are gone"}, true
			}
			field := "older"
			if i == 0 {
				field = "since"
			}
			e := Entry{a.Host, field, fmt.Sprintf("package %s: %s", c.SHA256, d.reason)}
			switch {
			case !doubtful:
			case d.status == Alarm:
				v.Alarms = append(v.Alarms, e)
			case d.status == Unjudged:
				v.Unjudged = append(v.Unjudged, e)
			default:
				v.Unknown = append(v.Unknown, e)
			}
		}
	}
}
