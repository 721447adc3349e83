package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/judge"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Signed is what was signed with further keys.
type Signed struct {
	Commit   string          `json:"commit"` // that the release names
	Release  int64           `json:"release"`
	SignedBy []string        `json:"signedBy"`
	Packages []schema.Digest `json:"packages"`
	Hosts    int             `json:"hosts"`
	Left     []judge.Entry   `json:"left"` // older candidates that were not signed, and why
}

// Sign adds the signatures of the named keys to every package that a host may be given now. Keys, roots and the commits
// that count as reviewed are those of the head. Nothing is signed unless the release follows from them.
func Sign(ctx context.Context, o Options, names []string, log io.Writer) (done *Signed, err error) {
	p, err := o.reader(ctx, log)
	if err != nil {
		return nil, err
	}
	f, err := evaluate.LoadTop(ctx, p.head.Files)
	if err != nil {
		return nil, err
	}
	held, unlock, err := store.WithLock(ctx, p.store, "package sign") // against gc, and a release that moves on
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	p.store = held
	ring := o.Keys.Open(ctx, f)
	if names, err = unlockNamed(ring, f, names); err != nil {
		return nil, err
	}
	j, err := p.newJudge(ctx)
	if err != nil {
		return nil, err
	}
	mind, err := newMemory(sound, p.head, p.verifier)
	if err != nil {
		return nil, err
	}
	alien, err := j.Roots(ctx)
	if err != nil {
		return nil, err
	}
	if len(alien) > 0 {
		return nil, fault.Refuse(fmt.Errorf("nothing is signed: %s", alien[0]),
			"find out who published it: bakehouse monitor")
	}
	verdicts, err := p.walk(ctx, j, mind)
	if err != nil {
		return nil, err
	}
	if n := len(verdicts); n > 0 && verdicts[n-1].Status != judge.Clean {
		err := fmt.Errorf("nothing is signed: %s", summary(verdicts[n-1]))
		if verdicts[n-1].Status == judge.Unjudged {
			return nil, fault.Hint(err, "sign with the version of bakehouse that published it, in a whole clone")
		}
		return nil, fault.Refuse(err, "find out who published it: bakehouse monitor")
	}
	state := j.State()
	done = &Signed{Commit: state.Commit(), Release: state.Number(), SignedBy: names, Hosts: len(state.Assignments()),
		Left: []judge.Entry{}}
	hosts := map[schema.Digest][]string{} // by manifest
	for a := range state.InOrder() {
		for _, c := range a.Candidates() {
			if why := j.Doubt(a.Host, c); why != "" {
				done.Left = append(done.Left, judge.Entry{Host: a.Host, Field: "older",
					Reason: fmt.Sprintf("package %s: %s", c.SHA256, why)})
				continue
			}
			hosts[c.Manifest] = append(hosts[c.Manifest], a.Host)
		}
	}
	byName := func(a, b schema.Digest) int { return strings.Compare(a.Hex(), b.Hex()) }
	all := slices.SortedFunc(maps.Keys(hosts), byName)
	manifests := make([]*schema.Manifest, len(all))
	each := func(verb string, jobs int, do func(ctx context.Context, i int) error) error {
		return batch.Together(ctx, jobs, console.NewProgress(log, verb, len(all)), len(all),
			func(ctx context.Context, i int) (string, error) { return console.Hosts(hosts[all[i]]), do(ctx, i) })
	}
	// A store that turns out to be altered gets no signature at all.
	err = each("reading", p.Jobs, func(ctx context.Context, i int) error {
		m, err := publish.ReadManifest(ctx, p.store, all[i])
		if err == nil {
			manifests[i], err = m, m.Assemble(io.Discard, publish.Segments(ctx, p.store))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	err = each("signing", keys.InFlight, func(ctx context.Context, i int) error {
		return publish.Statement(ctx, p.store, ring, names, manifests[i], all[i])
	})
	if err != nil {
		return nil, err
	}
	for _, m := range manifests {
		done.Packages = append(done.Packages, m.SHA256)
	}
	slices.SortFunc(done.Packages, byName)
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
