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

	made map[schema.Digest]madeFrom // by manifest
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
	made, err := readManifests(ctx, st, release, s.Cache)
	if err != nil {
		return nil, err
	}
	was := assigned(release, made)
	return &Comparison{release, was, plan.Diff(was, s.Hosts), made}, nil
}

// assigned is what the release gives each host.
func assigned(release *publish.State, made map[schema.Digest]madeFrom) map[string]plan.Published {
	hosts := make(map[string]plan.Published, len(release.Assignments()))
	for name, a := range release.Assignments() {
		hosts[name] = plan.Published{
			Desired: plan.Desired{Package: made[a.Manifest].Package, Site: a.Site, Ring: a.Ring, Selected: a.Selected,
				Was: strings.Join(a.Was, ",")},
			Current: a.Newest(),
		}
	}
	return hosts
}

// madeFrom is what a package was made from.
type madeFrom struct {
	plan.Package
	Segments map[schema.Digest]int64 // their sizes
}

func madeFromOf(m *schema.Manifest) madeFrom {
	made := madeFrom{plan.PackageOf(m), map[schema.Digest]int64{}}
	for _, s := range m.Segments() {
		made.Segments[s.Digest] = s.Size
	}
	return made
}

// readManifests is what the release's packages were made from, by the digests of their manifests, which are signed and
// say it. What a manifest says is remembered, if there is a cache.
func readManifests(
	ctx context.Context, st store.Store, release *publish.State, known *cache.Cache,
) (map[schema.Digest]madeFrom, error) {
	made := map[schema.Digest]madeFrom{}
	for _, a := range release.Assignments() {
		made[a.Manifest] = madeFrom{}
	}
	digests := slices.Collect(maps.Keys(made))
	packages := make([]madeFrom, len(digests))
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
		packages[i] = madeFromOf(m)
		return "", rememberManifest(known, digests[i], packages[i])
	}
	err := batch.Together(ctx, runtime.GOMAXPROCS(0), quiet, len(digests), read)
	for i, d := range digests {
		made[d] = packages[i]
	}
	return made, err
}

const manifestKind = "package and segments of a manifest"

// rememberManifest keeps what the manifest of that digest says a package was made from.
func rememberManifest(known *cache.Cache, d schema.Digest, made madeFrom) error {
	b, err := json.Marshal(made)
	if err == nil {
		known.Keep(b, manifestKind, d.Hex())
	}
	return err
}

// damaged are the packages that stay as published and of which the store lacks an object, or has one of another size.
// Baking them again adds what is missing, and refuses what is altered. Nothing is read but the listing.
func (c *Comparison) damaged(ctx context.Context, st store.Store) ([]plan.Package, error) {
	if len(c.Diff.Reuse) == 0 {
		return nil, nil
	}
	sizes := map[string]int64{}
	for _, dir := range []string{schema.ManifestDir, schema.SegmentDir, schema.ContentsDir} {
		for e, err := range st.List(ctx, dir, "") {
			if err != nil {
				return nil, err
			}
			sizes[e.Key] = e.Size
		}
	}
	whole := func(manifest schema.Digest) bool {
		for _, key := range []string{schema.ManifestKey(manifest), schema.ContentsKey(manifest)} {
			if sizes[key] == 0 {
				return false
			}
		}
		for segment, size := range c.made[manifest].Segments {
			if sizes[schema.SegmentKey(segment)] != size {
				return false
			}
		}
		return true
	}
	var again []plan.Package
	for key, candidate := range maps.All(c.Diff.Reuse) {
		if !whole(candidate.Manifest) {
			again = append(again, key)
		}
	}
	slices.SortFunc(again, func(a, b plan.Package) int { return strings.Compare(a.String(), b.String()) })
	return again, nil
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
