package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/keys"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"

	"github.com/spf13/cobra"
)

// signOnly is `reconcile --sign-only`: further signatures on what is published.
type signOnly struct {
	on    bool
	names []string
}

func (s *signOnly) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.on, "sign-only", false, "publish nothing: bake again what is published, from the commit that the release names, compare, and sign it with the keys of --key")
	cmd.Flags().StringSliceVar(&s.names, "key", nil, "with --sign-only: name of a key to sign with; can be repeated")
}

func (s *signOnly) check() error {
	switch {
	case !s.on && len(s.names) > 0:
		return fault.Hint(errors.New("--key is for --sign-only"), "a release is signed with every usable key whose use is package")
	case s.on && len(s.names) == 0:
		return fault.Hint(errors.New("--sign-only signs with no key"), "name one: bakehouse reconcile --sign-only --key NAME")
	}
	return nil
}

// SignedOnly is what `reconcile --sign-only --json` prints.
type SignedOnly struct {
	Commit   string          `json:"commit"` // that the packages were baked from again
	Release  int64           `json:"release"`
	SignedBy []string        `json:"signedBy"`
	Packages []schema.Digest `json:"packages"`
	Hosts    int             `json:"hosts"`
}

func (s *signOnly) run(ctx context.Context, o options, out, log io.Writer, asJSON bool) error {
	done, err := s.sign(ctx, o, log)
	if err != nil {
		return err
	}
	if asJSON {
		return console.WriteJSON(out, done)
	}
	_, err = fmt.Fprintf(out, "signed %s of release %d for %s with %s: each is what commit %.12s yields\n",
		console.Count(len(done.Packages), "package"), done.Release, console.Count(done.Hosts, "host"), strings.Join(done.SignedBy, ", "), done.Commit)
	return err
}

// sign takes the keys and the roots from the head, and what is signed from the commit that the release names. Nothing is
// signed unless all of it is what that commit yields.
func (s *signOnly) sign(ctx context.Context, o options, log io.Writer) (done *SignedOnly, err error) {
	if o.jobs, err = jobCount(o.jobs); err != nil {
		return nil, err
	}
	head, err := desired.Pin(o.Where, desired.OpenCache(o.cacheDir, log))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	gate, err := o.commits.open(head, now, log)
	if err != nil {
		return nil, err
	}
	if err := head.Evaluate(ctx); err != nil {
		return nil, err
	}
	st, err := store.OpenExisting(ctx, o.location)
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
		return nil, fault.Hint(errors.New("nothing is published that could be signed"), "publish a release first: bakehouse reconcile")
	}
	if gate != nil {
		if _, err := gate.since(published); err != nil {
			return nil, err
		}
	}
	ring := o.keys.Open(ctx, head.Fleet)
	if err := s.unlock(ring, head.Fleet); err != nil {
		return nil, err
	}
	from, err := desired.Yields(ctx, o.Repo, release.Commit)
	if err != nil {
		return nil, err
	}
	all, err := grouped(assignments(published), from)
	if err != nil {
		return nil, err
	}
	differences, err := rebake(ctx, st, from, all, release, o.programs, o.jobs, log)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for i, lines := range differences {
		if len(lines) > 0 {
			wrong = append(wrong, strings.TrimSuffix(all[i].tell(from.Name, lines), "\n"))
		}
	}
	if len(wrong) > 0 {
		return nil, fault.Refuse(fmt.Errorf("nothing is signed: %s", strings.Join(wrong, "\n")), "find out who published it: bakehouse package --verify --all")
	}
	done = &SignedOnly{Commit: release.Commit, Release: published.Number(), SignedBy: s.names}
	err = together(ctx, keys.InFlight, console.NewProgress(log, "signing", len(all)), len(all), func(ctx context.Context, i int) (string, error) {
		m, err := readManifest(ctx, st, all[i].given.Manifest)
		if err == nil {
			err = publish.Statement(ctx, st, ring, s.names, m, all[i].given.Manifest)
		}
		return console.Hosts(all[i].hosts), err
	})
	if err != nil {
		return nil, err
	}
	for _, c := range all {
		done.Hosts += len(c.hosts)
		done.Packages = append(done.Packages, c.given.SHA256)
	}
	slices.SortFunc(done.Packages, func(a, b schema.Digest) int { return strings.Compare(a.Hex(), b.Hex()) })
	done.Packages = slices.Compact(done.Packages)
	return done, nil
}

// unlock opens the named keys before any work.
func (s *signOnly) unlock(ring *keys.Keyring, f *fleet.Fleet) error {
	slices.Sort(s.names)
	s.names = slices.Compact(s.names)
	for _, name := range s.names {
		if k := f.Keys[name]; k != nil && !slices.Contains(k.Uses, fleet.UsePackage) {
			return fault.Hint(fmt.Errorf("key %s does not sign packages, but %s", name, strings.Join(k.Uses, ", ")), "name a key with the use package: bakehouse key list")
		}
		if _, err := ring.Signer(name); err != nil {
			return err
		}
	}
	return nil
}

// assignments are what the release gives, in order of hosts.
func assignments(release *publish.State) iter.Seq2[*schema.Assignment, error] {
	return func(yield func(*schema.Assignment, error) bool) {
		given := release.Assignments()
		for _, host := range slices.Sorted(maps.Keys(given)) {
			if !yield(given[host], nil) {
				return
			}
		}
	}
}
