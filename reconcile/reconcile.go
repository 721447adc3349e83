// Package reconcile is one pass from a commit to a published release, and the operator's commands around it.
//
// A pass, in order: source pins the commit, checks its signature if the operator asks for that, and reads its tree;
// desired evaluates the CUE and resolves each host into a recipe; publish verifies what is published, from the repo's
// trust/ and never from the store's word, and source the signatures on the commits since then; judge says whether it
// follows from a reviewed commit; plan tells the difference; the keys are unlocked; bake makes the new packages, their
// segments going into the store; publish adds a statement to each and then TUF metadata, the numbered timestamp last.
// Everything before that timestamp is invisible to hosts, so a pass that dies at any instant leaves the old release in
// place, and running it again converges.
//
// What asks the judge of releases that are published stands here, too: Monitor, Sign and Verify.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate/cache"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Options are the operator's settings for a pass.
type Options struct {
	desired.Where
	Store    string // location
	Init     bool   // the store has no release yet, and may not exist
	CacheDir string // of what was evaluated before; empty: none
	Programs program.Places
	Version  string // of this program; it is in the signed target "release"
	Keys     keys.Access
	Plan     string // file of a saved plan; empty: none
	Jobs     int    // packages to bake at a time; 0: one per processor
	Commits  source.CommitCheck
	Full     bool // do the whole pass, even if a recent one found nothing to publish
	Recovery publish.Recovery
	Now      time.Time // of the pass; zero: the clock's
}

// Run does one pass; log gets a line on anything worth knowing.
func Run(ctx context.Context, o Options, log io.Writer) (*Outcome, error) {
	var err error
	if o.Jobs, err = batch.Jobs(o.Jobs); err != nil {
		return nil, err
	}
	p, err := o.open(log)
	if err != nil {
		return nil, err
	}
	if o.Plan != "" {
		if p.bound, err = readPlan(o.Plan, p.head.Revision, o.Version); err != nil {
			return nil, err
		}
	}
	return p.unlessUpToDate(ctx, log)
}

// open pins the commit, and checks its signature if that is asked for.
func (o Options) open(log io.Writer) (*pass, error) {
	p, err := o.pin(log)
	if err != nil {
		return nil, err
	}
	p.head.NoteDirty(log)
	return p, nil
}

// pin is open without a word on what else is in the work tree.
func (o Options) pin(log io.Writer) (*pass, error) {
	before, err := desired.OpenCache(o.Repo, o.CacheDir, log)
	if err != nil {
		return nil, err
	}
	if before == nil {
		before = cache.InMemory() // the judge evaluates what is published beside what is to be
	}
	head, err := desired.Pin(o.Where, before)
	if err != nil {
		return nil, err
	}
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	verifier, err := o.Commits.Open(head.Repo, head.Commit(), now)
	if err != nil {
		return nil, err
	}
	return &pass{Options: o, head: head, now: now, verifier: verifier, log: log}, nil
}

// pass is what one pass works with.
type pass struct {
	Options
	head     *desired.State
	store    store.Store
	now      time.Time
	verifier *source.CommitVerifier // nil: commits are not verified
	bound    *boundPlan             // the saved plan to apply, if any
	log      io.Writer
}

// Outcome is what a pass did, as `reconcile --json` prints it.
type Outcome struct {
	Commit    string           `json:"commit"`
	Verified  *source.Verified `json:"verified,omitempty"`
	Release   int64            `json:"release"`
	Timestamp int64            `json:"timestamp"`         // version of the head
	Published bool             `json:"published"`         // false: nothing to do
	Checked   *time.Time       `json:"checked,omitempty"` // when a whole pass found that; absent: this one did
	Hosts     int              `json:"hosts"`
	Changes   []plan.Change    `json:"changes"`
	Packages  []PackageBaked   `json:"packages"` // baked in this pass
	Reused    int              `json:"reused"`   // packages that stay as published
	SignedBy  []string         `json:"signedBy"`
	Aging     []publish.Aging  `json:"aging"` // roles that should have been renewed, or will have to soon
	Stranded  []plan.Stranded  `json:"stranded,omitempty"`
}

// PackageBaked is one new package.
type PackageBaked struct {
	SHA256      schema.Digest   `json:"sha256"`
	Recipe      schema.RecipeID `json:"recipe"`
	Platform    schema.Platform `json:"platform"`
	Format      schema.Format   `json:"format"`
	Size        int64           `json:"size"`
	Stored      int64           `json:"stored"`      // bytes that the store grew by for it
	NewSegments int             `json:"newSegments"` // compressed for it
	Reused      int             `json:"reusedSegments"`
	Hosts       []string        `json:"hosts"`
}

// run is the pass, once the head is evaluated. due is when something published will have to be renewed.
func (p *pass) run(ctx context.Context) (out *Outcome, due time.Time, err error) {
	if err := p.head.Complete(); err != nil {
		return nil, due, err
	}
	high, err := p.highWaterOf(p.head.Fleet)
	if err == nil {
		err = high.check(ctx, p.store, p.head.Fleet, &p.Recovery)
	}
	if err != nil {
		return nil, due, err
	}
	c, err := Compare(ctx, p.head, p.store, p.now, p.Recovery)
	if err != nil {
		return nil, due, err
	}
	var verified *source.Verified
	if p.verifier != nil {
		if verified, err = p.verifier.Since(publishedCommit(c.Release, p.log)); err != nil {
			return nil, due, err
		}
	}
	if err := p.judgeHead(ctx, c.Release); err != nil { // after an expiry or alarm c.Release carries nothing
		return nil, due, err
	}
	if p.bound != nil {
		if err := p.bound.checkHead(ctx, p.store, c.Release); err != nil {
			return nil, due, err
		}
	}
	if c.Diff.Count(plan.Removed) > p.head.Fleet.Limits.Removable(c.Diff.Published()) {
		before, err := desired.Earlier(ctx, p.head.Repo, c.Release.Commit(), p.head.Cache)
		if err == nil {
			err = checkRemovals(p.head.Repo, c.Diff, before, p.head)
		}
		if err != nil {
			return nil, due, err
		}
	}
	if err := refuseTurned(ctx, p.store, p.head, c.Was, c.Diff); err != nil {
		return nil, due, err
	}
	stranded, err := warnStranded(ctx, p.store, c.Release, p.head, p.now, p.log)
	if err != nil {
		return nil, due, err
	}
	hosts, diff := p.head.Hosts, c.Diff
	out = &Outcome{Commit: p.head.Revision.Commit, Verified: verified, Hosts: len(hosts), Changes: diff.Changes,
		Reused: len(diff.Reuse), Stranded: stranded}

	ring := p.Keys.Open(ctx, p.head.Fleet)
	packages := diff.Reuse
	again, err := c.damaged(ctx, p.store)
	if err != nil {
		return nil, due, err
	}
	if toBake := slices.Concat(diff.Bake, again); len(toBake) > 0 {
		if err := p.add(ctx, ring, toBake, packages, out); err != nil {
			return nil, due, err
		}
	}
	// Without new packages Publish itself unlocks what it needs, which is nothing if nothing changed.
	issued, err := c.Release.IssueTime()
	if err != nil {
		return nil, due, err
	}
	want, err := p.head.Wanted(packages, p.Version, issued)
	if err != nil {
		return nil, due, err
	}
	summary, err := c.Release.Publish(ctx, p.store, ring, want)
	if err != nil {
		return nil, due, err
	}
	p.keepHighWater(ctx, high)
	if summary.Published {
		if err := p.remember(ctx, summary.Head); err != nil {
			console.Note(p.log, "%v", err)
		}
	}
	out.Release, out.Timestamp, out.Published, out.Aging = summary.Number, summary.Head, summary.Published, summary.Aging
	return out, summary.Due, nil
}

// add bakes, stores and signs packages, and adds them to those that are published, in which one that is baked again
// stays as it is.
func (p *pass) add(
	ctx context.Context, ring *keys.Keyring, toBake []plan.Package, packages map[plan.Package]schema.Candidate,
	out *Outcome,
) (err error) {
	if out.SignedBy, err = unlock(ring, p.head.Fleet); err != nil {
		return err
	}
	baked, err := p.bake(ctx, toBake)
	if err == nil {
		err = checkAgain(baked, packages)
	}
	if err == nil {
		err = p.keepAll(ctx, ring, out.SignedBy, baked)
	}
	if err != nil {
		return err
	}
	for _, b := range baked {
		if _, again := packages[b.key]; !again {
			packages[b.key] = b.candidate()
		}
		out.Packages = append(out.Packages, b.told())
	}
	return nil
}

// checkAgain refuses packages that were baked again and are not what is published.
func checkAgain(all []baked, published map[plan.Package]schema.Candidate) error {
	for _, b := range all {
		was, again := published[b.key]
		if again && (was.SHA256 != b.Manifest.SHA256 || was.Manifest != b.Digest) {
			return fault.Refuse(fmt.Errorf("objects of the published package %s are missing, and it bakes to %s now",
				was.SHA256.Short(), b.Manifest.SHA256.Short()),
				"restore the store from a copy; `bakehouse store fsck` names what is missing")
		}
	}
	return nil
}

// publishedCommit is the commit from which on commits are to be verified; empty if nothing is published, or nothing
// that is still believed.
func publishedCommit(release *publish.State, log io.Writer) string {
	if release.Release() == nil && release.Head() > 0 {
		console.Note(log, "the newest root no longer trusts the keys that signed what is published; "+
			"commits are verified as if nothing were")
	}
	return release.Commit()
}

// unlock decrypts every key that a release with new packages needs, so that a missing key or a wrong passphrase ends
// the pass before any work. It returns the names of the keys that sign packages.
func unlock(ring *keys.Keyring, f *fleet.Fleet) ([]string, error) {
	if err := ring.Enough(f.Threshold, fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp); err != nil {
		return nil, err
	}
	if err := ring.Unlock(fleet.UseTargets, fleet.UseSnapshot, fleet.UseTimestamp, fleet.UsePackage); err != nil {
		return nil, err
	}
	return ring.Names(fleet.UsePackage)
}

// baked is a package and what it was made from.
type baked struct {
	key   plan.Package
	hosts []string                 // that are to have it, in order
	added int                      // bytes that its manifest and the list of its files added to the store
	lists map[schema.Digest][]byte // of its files, by its manifest's digest, and of those of segments, by theirs
	*bake.Baked
}

func (b baked) candidate() schema.Candidate {
	return schema.Candidate{SHA256: b.Manifest.SHA256, Length: b.Manifest.Size, Manifest: b.Digest,
		Recipe: b.Manifest.Recipe}
}

// told is b for the outcome.
func (b baked) told() PackageBaked {
	t := PackageBaked{SHA256: b.Manifest.SHA256, Recipe: b.key.Recipe, Platform: b.key.Platform, Format: b.key.Format,
		Size: b.Manifest.Size, Stored: int64(b.added), NewSegments: len(b.NewSegments), Reused: len(b.ReusedSegments),
		Hosts: b.hosts}
	for _, s := range b.NewSegments {
		t.Stored += s.Size
	}
	return t
}

// bake makes the packages; the result is in the order of want.
func (p *pass) bake(ctx context.Context, want []plan.Package) ([]baked, error) {
	o := batch.New(p.head, p.store, p.Programs, p.Jobs, p.log)
	done := make([]baked, len(want))
	var listed sync.Map // segments
	err := o.Each(ctx, want, func(i int, b *bake.Baked) (err error) {
		done[i] = baked{key: want[i], hosts: o.HostsOf[want[i]], Baked: b}
		done[i].lists, err = b.Lists(func(segment schema.Digest) bool {
			_, told := listed.LoadOrStore(segment, true)
			return told
		})
		return err
	})
	return done, err
}

// keepAll stores and signs what was baked. Nothing is signed before all is baked: a store that turns out to be altered
// gets no signature at all.
func (p *pass) keepAll(ctx context.Context, ring *keys.Keyring, names []string, all []baked) error {
	return batch.Together(ctx, keys.InFlight, console.NewProgress(p.log, "signing", len(all)), len(all),
		func(ctx context.Context, i int) (string, error) {
			var err error
			all[i].added, err = p.keep(ctx, ring, names, all[i])
			return console.Hosts(all[i].hosts), err
		})
}

// keep stores the manifest, the lists of files and the statements of a package, and returns how many bytes the first
// two added. All may be there already, from a pass that died or a release before the last one.
func (p *pass) keep(ctx context.Context, ring *keys.Keyring, names []string, b baked) (added int, err error) {
	added = len(b.Packed)
	err = store.CreateBytes(ctx, p.store, schema.ManifestKey(b.Digest), b.Packed)
	if errors.Is(err, fs.ErrExist) {
		added = 0
		_, err = publish.ReadManifest(ctx, p.store, b.Digest)
	}
	if err != nil {
		return 0, err
	}
	for d, list := range b.lists {
		err := store.CreateBytes(ctx, p.store, schema.ContentsKey(d), list)
		switch {
		case err == nil:
			added += len(list)
		case !errors.Is(err, fs.ErrExist):
			return 0, err
		}
	}
	if err := rememberManifest(p.head.Cache, b.Digest, madeFromOf(b.Manifest)); err != nil {
		return 0, err
	}
	return added, publish.Statement(ctx, p.store, ring, names, b.Manifest, b.Digest)
}
