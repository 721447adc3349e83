package reconcile

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/trust/bins"
	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/evaluate/cache"
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
	was, err := assigned(ctx, st, release, s.Cache)
	if err != nil {
		return nil, err
	}
	return &Comparison{release, was, plan.Diff(was, s.Hosts)}, nil
}

// assigned is what the release gives each host.
func assigned(
	ctx context.Context, st store.Store, release *publish.State, known *cache.Cache,
) (map[string]plan.Published, error) {
	made, err := madeFrom(ctx, st, release, known)
	if err != nil {
		return nil, err
	}
	hosts := make(map[string]plan.Published, len(release.Assignments()))
	for name, a := range release.Assignments() {
		hosts[name] = plan.Published{
			Desired: plan.Desired{Package: made[a.Manifest], Site: a.Site, Ring: a.Ring, Selected: a.Selected,
				Was: strings.Join(a.Was, ",")},
			Current: a.Newest(),
		}
	}
	return hosts, nil
}

// madeFrom is what the release's packages were made from, by the digests of their manifests, which are signed and say
// it. What a manifest says is remembered, if there is a cache.
func madeFrom(
	ctx context.Context, st store.Store, release *publish.State, known *cache.Cache,
) (map[schema.Digest]plan.Package, error) {
	made := map[schema.Digest]plan.Package{}
	for _, a := range release.Assignments() {
		made[a.Manifest] = plan.Package{}
	}
	digests := slices.Collect(maps.Keys(made))
	packages := make([]plan.Package, len(digests))
	quiet := console.NewProgress(io.Discard, "reading manifests", len(digests))
	read := func(ctx context.Context, i int) (string, error) {
		record, ok := known.Find(manifestKind, digests[i].Hex())
		if ok && json.Unmarshal([]byte(record), &packages[i]) == nil {
			return "", nil
		}
		m, err := publish.ReadManifest(ctx, st, digests[i])
		if err != nil {
			return "", err
		}
		packages[i] = plan.PackageOf(m)
		return "", rememberManifest(known, digests[i], packages[i])
	}
	err := batch.Together(ctx, runtime.GOMAXPROCS(0), quiet, len(digests), read)
	for i, d := range digests {
		made[d] = packages[i]
	}
	return made, err
}

const manifestKind = "package of a manifest"

// rememberManifest keeps what the manifest of that digest says a package was made from.
func rememberManifest(known *cache.Cache, d schema.Digest, made plan.Package) error {
	b, err := json.Marshal(made)
	if err == nil {
		known.Keep(b, manifestKind, d.Hex())
	}
	return err
}

// checkRemovals refuses a difference that removes more hosts than limits.removed of the new state, unless a commit
// message since the state before says so.
func checkRemovals(repo *source.Repo, diff *plan.Plan, before, after *desired.State) error {
	limit := after.Fleet.Limits.Removable(diff.Published())
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
