package reconcile

import (
	"context"
	"io"
	"time"

	"bakehouse/agent/trust/bins"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/serve/store"
)

// This half of a pass needs no keys and writes nothing, so `plan` is nothing else, and `reconcile` begins with it.

// Comparison is what is published beside what is wanted.
type Comparison struct {
	Release *publish.State // verified
	Was     map[string]plan.Published
	Diff    *plan.Plan
}

// Compare verifies what the store publishes and compares it with s.
func Compare(
	ctx context.Context, s *desired.State, st store.Store, now time.Time, r publish.Recovery,
) (*Comparison, error) {
	var memory bins.Memory
	if s.Cache != nil {
		memory = s.Cache
	}
	release, err := publish.Recover(ctx, st, s.Fleet, now, r, memory)
	if err != nil {
		return nil, err
	}
	was, err := assigned(ctx, st, release)
	if err != nil {
		return nil, err
	}
	return &Comparison{release, was, plan.Diff(was, s.Hosts)}, nil
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
			if m, err = publish.ReadManifest(ctx, st, a.Manifest); err != nil {
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

// checkRemovals refuses a difference that removes more hosts than limits.removed of the new state, unless a commit
// message since the state before says so.
func checkRemovals(repo *source.Repo, diff *plan.Plan, before, after *desired.State) error {
	limit := after.Fleet.Limits.Removed
	folders := map[string]string{}
	listed := plan.ListedIn(after.Fleet)
	for _, c := range diff.Changes {
		if c.Kind != plan.Removed || listed.Renamed(c.Host) {
			continue
		}
		folders[c.Host] = ""
		if before == nil {
			continue
		}
		if h := before.Resolved.Hosts[c.Host]; h != nil {
			folders[c.Host] = plan.FolderOf(h.Host)
		}
	}
	var lines []plan.Removal
	if after.Revision != nil {
		messages, err := repo.Messages(before.Commit(), after.Revision.Commit)
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
		console.Warn(log, "%v", a)
	}
}
