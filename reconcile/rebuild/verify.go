package rebuild

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/batch"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/program"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// Options say what to bake again.
type Options struct {
	desired.Where
	Store    string // location
	Commit   string // to bake; empty: the one that the release names
	Programs program.Places
	Jobs     int // packages at a time; 0: one per processor
}

// Examined is a published package, what the commit wants for the hosts that have it, and how the two differ.
type Examined struct {
	Package     schema.Candidate `json:"package"`
	Hosts       []string         `json:"hosts"`
	Differences []string         `json:"differences"` // none: it is what the commit yields
	Missing     string           `json:"missing"`     // what the store lacks of it although it is; empty: nothing

	want plan.Package
}

// Compare bakes packages again, from s alone, and fills in how the published ones differ.
func Compare(
	ctx context.Context, st store.Store, s *desired.State, all []*Examined, release *schema.Release,
	programs program.Places, jobs int, log io.Writer,
) (err error) {
	private, err := newOverlay(st)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	// Those that the commit does not have are not baked.
	var baked []*Examined
	var want []plan.Package
	for _, e := range all {
		if e.want == (plan.Package{}) {
			e.Differences = []string{"the commit has no such host"}
			continue
		}
		baked, want = append(baked, e), append(want, e.want)
	}
	return batch.New(s, private, programs, jobs, log).Each(ctx, want, func(i int, b *bake.Baked) (err error) {
		baked[i].Differences, err = compareBaked(ctx, st, private, baked[i].Package, b, release)
		if missing := (*missingError)(nil); errors.As(err, &missing) {
			baked[i].Differences, baked[i].Missing, err = []string{}, missing.Error(), nil
		}
		return err
	})
}

// Grouped is each published package once, for each package that s wants for its hosts, in order of hosts.
func Grouped(published iter.Seq2[*schema.Assignment, error], s *desired.State) ([]*Examined, error) {
	type pair struct {
		manifest schema.Digest
		want     plan.Package
	}
	found := map[pair]*Examined{}
	for a, err := range published {
		if err != nil {
			return nil, err
		}
		key := pair{a.Manifest, s.Hosts[a.Host].Package}
		if found[key] == nil {
			found[key] = &Examined{Package: a.Candidates()[0], Differences: []string{}, want: key.want}
		}
		found[key].Hosts = append(found[key].Hosts, a.Host)
	}
	all := slices.Collect(maps.Values(found))
	for _, e := range all {
		slices.Sort(e.Hosts)
	}
	slices.SortFunc(all, func(a, b *Examined) int { return cmp.Compare(a.Hosts[0], b.Hosts[0]) })
	return all, nil
}

// missingError says that the store lacks a part of a package that is, by its digests, what was baked. Whoever published
// it published the right one; what is altered is another matter.
type missingError struct{ error }

// compareBaked says how a published package differs from what was baked for it; no lines if it does not.
func compareBaked(
	ctx context.Context, st store.Store, private *overlay, given schema.Candidate, b *bake.Baked, release *schema.Release,
) ([]string, error) {
	m, err := publish.ReadManifest(ctx, st, given.Manifest)
	if err != nil {
		return nil, err
	}
	if m.Bake != bake.Version {
		return nil, fault.Hint(
			fmt.Errorf("it was published by bake version %d, and this program has %d, whose bytes differ", m.Bake, bake.Version),
			"verify it with the version that published it: bakehouse %s", release.Tool)
	}
	if m.SHA256 != given.SHA256 || m.Size != given.Length {
		return []string{fmt.Sprintf("its manifest describes %s of %d bytes, and %s of %d bytes is signed",
			m.SHA256, m.Size, given.SHA256, given.Length)}, nil
	}
	var lines []string
	field := func(name string, published, baked any) {
		if published != baked {
			lines = append(lines, fmt.Sprintf("%s: %v published, %v baked", name, published, baked))
		}
	}
	field("recipe", m.Recipe, b.Manifest.Recipe)
	field("name", m.Name, b.Manifest.Name)
	field("version", m.Version, b.Manifest.Version)
	field("platform", m.Platform, b.Manifest.Platform)
	field("format", m.Format, b.Manifest.Format)
	field("anchor", m.Anchor, b.Manifest.Anchor)
	field("size", m.Size, b.Manifest.Size)
	field("package", m.SHA256, b.Manifest.SHA256)
	field("manifest", given.Manifest, b.Digest)
	published, err := contents.OfPackage(m, publish.Segments(ctx, st))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if errors.Is(err, contents.ErrFormat) && len(lines) == 0 {
		err = m.Assemble(io.Discard, publish.Segments(ctx, st))
	}
	if errors.Is(err, fs.ErrNotExist) && len(lines) == 0 {
		return nil, &missingError{err}
	}
	if err != nil {
		return append(lines, fmt.Sprintf("the published package: %v", err)), nil
	}
	if len(lines) == 0 {
		return []string{}, nil
	}
	baked, err := contents.OfPackage(b.Manifest, private.segments(ctx))
	if err != nil {
		return nil, err
	}
	files := contents.Difference(published, baked)
	if len(files) == 0 {
		files = []string{"every file is the same, and what is around them differs"}
	}
	return append(lines, files...), nil
}
