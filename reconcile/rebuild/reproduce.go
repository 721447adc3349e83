package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/console"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
	"bakehouse/serve/store/stores"
)

// Reproduce finds the packages that a hash may mean: in the releases that the store keeps, or in what o.Commit yields
// if that is set. If write is not nil, there may be one only, and it is handed over to be put together.
func Reproduce(
	ctx context.Context, o Options, text string, log io.Writer, write func(assemble func(io.Writer) error) error,
) (_ []*Provenance, err error) {
	h, err := parseHash(text)
	if err != nil {
		return nil, err
	}
	if o.Jobs, err = batch.Jobs(o.Jobs); err != nil {
		return nil, err
	}
	f, err := desired.Top(ctx, o.Where)
	if err != nil {
		return nil, err
	}
	st, err := stores.OpenExisting(ctx, o.Store)
	if err != nil {
		return nil, err
	}
	private, err := newOverlay(st)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	r := &reproduction{Options: o, store: st, private: private, log: log}
	found, err := r.find(ctx, f, h)
	if err != nil {
		return nil, err
	}
	if write != nil && len(found) > 1 {
		var digests []string
		for _, p := range found {
			digests = append(digests, fmt.Sprintf("%s (%s %s)", p.Package.Hex(), p.Platform, p.Format))
		}
		return nil, fault.Hint(fmt.Errorf("%s means %d packages", text, len(found)),
			"give one of %s", strings.Join(digests, ", "))
	}
	for _, p := range found {
		if err := p.signatures(ctx, st, f); err != nil {
			return nil, err
		}
		open, err := r.segments(ctx, p)
		if err != nil {
			return nil, err
		}
		p.Files, err = contents.OfPackage(p.manifest, open)
		if err != nil && !errors.Is(err, contents.ErrFormat) {
			return nil, err
		}
		if write == nil {
			continue
		}
		if err := write(func(w io.Writer) error { return p.manifest.Assemble(w, open) }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// reproduction is one run of Reproduce.
type reproduction struct {
	Options
	store   store.Store
	private *overlay
	log     io.Writer
}

func (r *reproduction) find(ctx context.Context, f *fleet.Fleet, h hash) ([]*Provenance, error) {
	if r.Commit != "" {
		return r.inCommit(ctx, h, func(plan.Package) bool { return true })
	}
	found, err := trace(ctx, r.store, f.Roots[0], h)
	if err == nil && len(found) == 0 {
		err = fault.Hint(fmt.Errorf("no release that the store keeps gave %s to a host", h.text),
			"if an older one did, name its commit: bakehouse reproduce %s --commit REF", h.text)
	}
	return found, err
}

// inCommit bakes what a commit yields, as far as it is asked for, and returns the packages that h means.
func (r *reproduction) inCommit(ctx context.Context, h hash, only func(plan.Package) bool) ([]*Provenance, error) {
	s, err := desired.Yields(ctx, r.Repo, r.Commit)
	if err != nil {
		return nil, err
	}
	baker := batch.New(s, r.private, r.Programs, r.Jobs, r.log)
	// A hash of 16 digits is most often a recipe, and then only that is to be baked.
	isRecipe := slices.ContainsFunc(slices.Collect(maps.Keys(baker.HostsOf)),
		func(p plan.Package) bool { return h.text == string(p.Recipe) })
	var want []plan.Package
	for p := range baker.HostsOf {
		if only(p) && (!isRecipe || h.text == string(p.Recipe)) {
			want = append(want, p)
		}
	}
	slices.SortFunc(want, func(a, b plan.Package) int { return strings.Compare(baker.HostsOf[a][0], baker.HostsOf[b][0]) })
	made := make([]*Provenance, len(want))
	err = baker.Each(ctx, want, func(i int, b *bake.Baked) error {
		if !h.means(b.Manifest.SHA256, b.Digest, b.Manifest.Recipe) {
			return nil
		}
		made[i] = describe(b.Manifest, b.Digest)
		made[i].Release = &schema.Release{Commit: s.Revision.Commit, Tree: s.Revision.Tree}
		for _, host := range baker.HostsOf[want[i]] {
			made[i].Hosts = append(made[i].Hosts, Given{Host: host})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(made, func(o *Provenance) bool { return o == nil })
	if len(found) == 0 {
		return nil, fault.Hint(
			fmt.Errorf("none of the %s that %s yields is %s", console.Count(len(want), "package"), s.Name, h.text),
			"set another commit; with another version of bakehouse the same commit may yield other bytes "+
				"(this one has bake version %d)", bake.Version)
	}
	return found, nil
}

// opener opens a segment for Manifest.Assemble.
type opener = func(schema.SegmentRef) (io.ReadCloser, error)

// segments opens the segments of a package: from the store, or if any is gone there, baked again from the commit.
func (r *reproduction) segments(ctx context.Context, o *Provenance) (opener, error) {
	if r.Commit != "" {
		return r.private.segments(ctx), nil // baked just now
	}
	for _, ref := range o.manifest.Segments() {
		f, err := r.store.Open(ctx, schema.SegmentKey(ref.Digest))
		if errors.Is(err, fs.ErrNotExist) {
			return r.again(ctx, o)
		}
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	return publish.Segments(ctx, r.store), nil
}

// again bakes a package from the commit of its release.
func (r *reproduction) again(ctx context.Context, o *Provenance) (opener, error) {
	if o.Release == nil {
		return nil, fault.Hint(fmt.Errorf("segments of package %s are gone, and so is the release that says from which "+
			"commit it was baked", o.Package),
			"name the commit with --commit")
	}
	if o.Bake != bake.Version {
		return nil, fault.Hint(fmt.Errorf("segments of package %s are gone, and it was baked by bake version %d; this "+
			"program has %d", o.Package, o.Bake, bake.Version),
			"bake it with the version that published it: bakehouse %s", o.Release.Tool)
	}
	from := *r
	from.Commit = o.Release.Commit
	_, err := from.inCommit(ctx, hash{o.Package.Hex()}, func(p plan.Package) bool {
		return p.Recipe == o.Recipe && p.Platform == o.Platform && p.Format == o.Format
	})
	return r.private.segments(ctx), err
}
