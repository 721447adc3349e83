package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/rebuild"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Signed is what was signed with further keys.
type Signed struct {
	Commit   string          `json:"commit"` // that the packages were baked from again
	Release  int64           `json:"release"`
	SignedBy []string        `json:"signedBy"`
	Packages []schema.Digest `json:"packages"`
	Hosts    int             `json:"hosts"`
}

// Sign adds the signatures of the named keys to what is published. It takes the keys and the roots from the head, and
// what is signed from the commit that the release names. Nothing is signed unless all of it is what that commit yields.
func Sign(ctx context.Context, o Options, names []string, log io.Writer) (done *Signed, err error) {
	if o.Jobs, err = batch.Jobs(o.Jobs); err != nil {
		return nil, err
	}
	before, err := desired.OpenCache(o.Repo, o.CacheDir, log)
	if err != nil {
		return nil, err
	}
	head, err := desired.Pin(o.Where, before)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	verifier, err := o.Commits.Open(head.Repo, head.Commit(), now)
	if err != nil {
		return nil, err
	}
	if err := head.Evaluate(ctx); err != nil {
		return nil, err
	}
	st, err := store.OpenExisting(ctx, o.Store)
	if err != nil {
		return nil, err
	}
	unlock, err := store.Lock(ctx, st) // against gc, and a release that moves on
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	published, err := publish.Read(ctx, st, head.Fleet, now)
	if err != nil {
		return nil, err
	}
	release := published.Release()
	if release == nil {
		return nil, fault.Hint(errors.New("nothing is published that could be signed"),
			"publish a release first: bakehouse reconcile")
	}
	if verifier != nil {
		if _, err := verifier.Since(publishedCommit(published, log)); err != nil {
			return nil, err
		}
	}
	ring := o.Keys.Open(ctx, head.Fleet)
	if names, err = unlockNamed(ring, head.Fleet, names); err != nil {
		return nil, err
	}
	from, err := desired.Yields(ctx, o.Repo, release.Commit)
	if err != nil {
		return nil, err
	}
	all, err := rebuild.Grouped(published.InOrder(), from)
	if err != nil {
		return nil, err
	}
	if err := rebuild.Compare(ctx, st, from, all, release, o.Programs, o.Jobs, log); err != nil {
		return nil, err
	}
	var wrong []string
	for _, e := range all {
		if len(e.Differences) > 0 {
			wrong = append(wrong, strings.TrimSuffix(e.Summary(from.Name), "\n"))
		}
	}
	if len(wrong) > 0 {
		return nil, fault.Refuse(fmt.Errorf("nothing is signed: %s", strings.Join(wrong, "\n")),
			"find out who published it: bakehouse package verify --all")
	}
	done = &Signed{Commit: release.Commit, Release: published.Number(), SignedBy: names}
	progress := console.NewProgress(log, "signing", len(all))
	err = batch.Together(ctx, keys.InFlight, progress, len(all), func(ctx context.Context, i int) (string, error) {
		m, err := publish.ReadManifest(ctx, st, all[i].Package.Manifest)
		if err == nil {
			err = publish.Statement(ctx, st, ring, names, m, all[i].Package.Manifest)
		}
		return console.Hosts(all[i].Hosts), err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		done.Hosts += len(c.Hosts)
		done.Packages = append(done.Packages, c.Package.SHA256)
	}
	slices.SortFunc(done.Packages, func(a, b schema.Digest) int { return strings.Compare(a.Hex(), b.Hex()) })
	done.Packages = slices.Compact(done.Packages)
	return done, nil
}

// unlockNamed opens the named keys before any work, and returns their names in order.
func unlockNamed(ring *keys.Keyring, f *fleet.Fleet, names []string) ([]string, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		if k := f.Keys[name]; k != nil && !slices.Contains(k.Uses, fleet.UsePackage) {
			return nil, fault.Hint(fmt.Errorf("key %s does not sign packages, but %s", name, strings.Join(k.Uses, ", ")),
				"name a key with the use package: bakehouse key list")
		}
		if _, err := ring.StatementSigner(name); err != nil {
			return nil, err
		}
	}
	return names, nil
}
