package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/rules"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// This half of a pass needs no keys and writes nothing, so `plan` is nothing else, and `reconcile` begins with it.

// state is a state of the fleet repository, evaluated.
type state struct {
	name     string           // for people
	rev      *source.Revision // nil: a work tree
	files    fs.FS
	cache    *evaluate.Cache
	fleet    *fleet.Fleet
	resolved *rules.Resolved
	hosts    map[string]plan.Desired // what it wants for each that a package can be made for
}

func atRevision(rev *source.Revision, c *evaluate.Cache) *state {
	return &state{name: fmt.Sprintf("commit %.12s", rev.Commit), rev: rev, files: rev.FS, cache: c}
}

// evaluate fills in what follows from the files.
func (s *state) evaluate(ctx context.Context) (err error) {
	repo, err := s.cache.Load(ctx, s.files)
	if err != nil {
		return err
	}
	s.fleet = repo.Fleet
	if s.resolved, err = rules.Resolve(ctx, s.fleet, repo); err != nil {
		return err
	}
	s.hosts = make(map[string]plan.Desired, len(s.resolved.Hosts))
	for name, h := range s.resolved.Hosts {
		if h.Lacks != "" {
			continue
		}
		s.hosts[name] = plan.Desired{
			Package: plan.Package{Recipe: h.Recipe.ID, Platform: h.Platform, Format: h.Format, Bake: bake.Version, Anchor: s.anchor()},
			Site:    h.Site, Ring: h.Ring, Selected: h.Selected,
		}
	}
	return nil
}

// anchor is the digest of the root that packages carry.
func (s *state) anchor() schema.Digest { return schema.DigestOf(s.fleet.Anchor()) }

// commit is the commit's hash, empty for a work tree or no state at all.
func (s *state) commit() string {
	if s == nil || s.rev == nil {
		return ""
	}
	return s.rev.Commit
}

func (s *state) policy() schema.Policy {
	policy := schema.Policy{Schema: schema.PolicySchema, Fleet: s.fleet.Name, Enabled: s.fleet.Rollout.Enabled,
		Revoked: s.fleet.Rollout.Revoked, MaxHold: s.fleet.Rollout.MaxHold, Sites: s.fleet.Sites, Downloads: s.fleet.Downloads}
	for _, r := range s.fleet.Rollout.Rings {
		policy.Rings = append(policy.Rings, r.Ring)
	}
	return policy
}

// comparison is what is published beside what is wanted.
type comparison struct {
	release *publish.State // verified
	was     map[string]plan.Published
	diff    *plan.Plan
}

// compare verifies what the store publishes and compares it with s.
func (s *state) compare(ctx context.Context, st store.Store, now time.Time, r publish.Recovery) (*comparison, error) {
	release, err := publish.Recover(ctx, st, s.fleet, now, r)
	if err != nil {
		return nil, err
	}
	was, err := assigned(ctx, st, release)
	if err != nil {
		return nil, err
	}
	return &comparison{release, was, plan.Diff(was, s.hosts)}, nil
}

// assigned is what the release gives each host. What a package was made from stands in its manifest, whose digest is
// signed.
func assigned(ctx context.Context, st store.Store, release *publish.State) (map[string]plan.Published, error) {
	hosts := map[string]plan.Published{}
	read := map[schema.Digest]*schema.Manifest{}
	for name, a := range release.Assignments() {
		m := read[a.Manifest]
		if m == nil {
			var err error
			if m, err = readManifest(ctx, st, a.Manifest); err != nil {
				return nil, err
			}
			read[a.Manifest] = m
		}
		hosts[name] = plan.Published{
			Desired: plan.Desired{
				Package: plan.Package{Recipe: m.Recipe, Platform: m.Platform, Format: m.Format, Bake: m.Bake, Anchor: m.Anchor},
				Site:    a.Site, Ring: a.Ring, Selected: a.Selected,
			},
			Current: a.Candidates()[0],
		}
	}
	return hosts, nil
}

// releaseState is the commit that the release was made from, evaluated; nil if the repository does not have it or this
// version cannot evaluate it any more.
func releaseState(ctx context.Context, repo *source.Repo, release *publish.State, c *evaluate.Cache) (*state, error) {
	if release.Release() == nil {
		return nil, nil
	}
	rev, err := repo.Revision(release.Release().Commit)
	if err != nil {
		return nil, nil // a shallow clone, or history was rewritten
	}
	s := atRevision(rev, c)
	err = s.evaluate(ctx)
	var problems fleet.Problems
	if errors.As(err, &problems) {
		return nil, nil
	}
	return s, err
}

// checkRemovals refuses a difference that removes more hosts than limits.removed of the new state, unless a commit
// message since the state before says so.
func checkRemovals(repo *source.Repo, diff *plan.Plan, before, after *state) error {
	limit := after.fleet.Limits.Removed
	folders := map[string]string{}
	listed := plan.ListedIn(after.fleet)
	for _, c := range diff.Changes {
		if c.Kind != plan.Removed || listed.Renamed(c.Host) {
			continue
		}
		folders[c.Host] = ""
		if before == nil {
			continue
		}
		if h := before.resolved.Hosts[c.Host]; h != nil {
			folders[c.Host] = plan.FolderOf(h.Host)
		}
	}
	var lines []plan.Removal
	if after.rev != nil {
		messages, err := repo.Messages(before.commit(), after.rev.Commit)
		if err != nil {
			return err
		}
		for _, m := range messages {
			lines = append(lines, plan.ParseRemovals(m)...)
		}
	}
	return plan.CheckRemovals(folders, limit, lines)
}

// warnAging tells what should have been renewed, a line each.
func warnAging(log io.Writer, aging []publish.Aging) {
	for _, a := range aging {
		fmt.Fprintf(log, "bakehouse: warning: %v\n", a)
	}
}

// maxWarned bounds what is told beside a plan or a release.
const maxWarned = 20

// warn tells what `check` would warn of, a line each.
func (s *state) warn(log io.Writer) {
	all := slices.Concat(s.fleet.Warnings, s.resolved.Warnings)
	for _, f := range ofKeys(s.fleet, s.fleet.KeyExpiry, time.Now()) {
		if f.level == levelWarning { // from keyExpiry.critical on
			all = append(all, f.Problem)
		}
	}
	for i, w := range all {
		if i == maxWarned {
			fmt.Fprintf(log, "bakehouse: warning: and %d more, which `bakehouse check` lists\n", len(all)-i)
			break
		}
		fmt.Fprintf(log, "bakehouse: warning: %v\n", w)
	}
}
