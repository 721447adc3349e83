package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"bakehouse/agent/trust/statement"
	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/origin"
	"bakehouse/serve/store"
	"bakehouse/serve/view"
)

// newestRow is the release that is served.
func (s *Source) newestRow(rel *origin.Release, run int) view.ReleaseRow {
	r := view.ReleaseRow{Number: rel.Info.Number, Newest: true, Commit: rel.Info.Commit, Issued: rel.Info.Issued,
		Tool: rel.Info.Tool, Hosts: run, PackageCount: len(s.Hosts.Targets())}
	if a := rel.About; a != nil {
		r.Subject, r.Author, r.CommitKey = a.Subject, a.Author, a.SignedBy
	}
	return r
}

// Releases lists the releases that hosts run or are given, the newest first: what an older one was is in the
// repository,
// and what a commit says is signed for the newest alone.
func (s *Source) Releases(_ context.Context, v Viewer) (*view.Releases, error) {
	head, rel := s.head()
	c := s.Hosts.Counts(v.Filter(hosts.Query{}))
	list := &view.Releases{Head: head, Releases: []view.ReleaseRow{}}
	newest := newestRelease(rel)
	numbers := map[int64]bool{newest: true}
	for n := range c.Release {
		numbers[n] = true
	}
	given := s.given(rel, v)
	for n := range given {
		numbers[n] = true
	}
	for _, n := range slices.Backward(slices.Sorted(maps.Keys(numbers))) {
		switch {
		case n == 0: // nothing of the fleet's
		case n == newest:
			row := s.newestRow(rel, c.Release[n])
			row.Rollout, row.Text = progress(s.rings(rel, c))
			list.Releases = append(list.Releases, row)
		default:
			list.Releases = append(list.Releases, view.ReleaseRow{Number: n, Hosts: c.Release[n], Rollout: "superseded",
				PackageCount: len(given[n])})
		}
	}
	return list, nil
}

// progress is how far the newest release is.
func progress(rings []view.Ring) (code, text string) {
	var open, waiting []string
	for _, r := range rings {
		switch r.State {
		case view.RingHalted:
			return "halted", "halted at " + r.Name
		case view.RingOpen, view.RingDone:
			open = append(open, r.Name)
		case view.RingWaiting:
			waiting = append(waiting, r.Name)
		}
	}
	done := !slices.ContainsFunc(rings, func(r view.Ring) bool { return r.Name != "" && r.State != view.RingDone })
	switch {
	case done:
		return "done", "all rings"
	case len(waiting) == 0:
		return "rolling", strings.Join(open, ", ") + " open"
	case len(open) == 0:
		return "rolling", strings.Join(waiting, ", ") + " waiting"
	}
	return "rolling", strings.Join(open, ", ") + " open; " + strings.Join(waiting, ", ") + " waiting"
}

// given are the packages that hosts of v are meant to have, by the release with which each came, with how many hosts.
func (s *Source) given(rel *origin.Release, v Viewer) map[int64]map[schema.Digest]int {
	m := map[int64]map[schema.Digest]int{}
	for name, a := range rel.Hosts {
		if v.sees != nil && !v.sees(name) {
			continue
		}
		if m[a.Release] == nil {
			m[a.Release] = map[schema.Digest]int{}
		}
		m[a.Release][a.SHA256]++
	}
	return m
}

// OneRelease is one that hosts run or are given; of another the error wraps fs.ErrNotExist.
func (s *Source) OneRelease(ctx context.Context, v Viewer, number int64) (*view.Release, error) {
	all, err := s.Releases(ctx, v)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all.Releases, func(r view.ReleaseRow) bool { return r.Number == number })
	if i < 0 {
		return nil, fmt.Errorf("release %d: %w", number, missing)
	}
	_, rel := s.head()
	r := &view.Release{Head: all.Head, ReleaseRow: all.Releases[i], Changes: []string{},
		Findings: []schema.AboutFinding{},
		Keys:     []schema.AboutKey{}, Packages: []view.PackageRow{}}
	if a := rel.About; r.Newest && a != nil {
		r.Plan = &a.Plan
		r.Changes = changes(a.Plan)
		r.Findings = append(r.Findings, a.Findings...)
		r.Keys = append(r.Keys, a.Keys...)
		if c := rel.Info.Commit; len(c) >= 12 {
			r.Compare = "bakehouse plan --ref " + c[:12]
		}
	}
	given := s.given(rel, v)[number]
	digests := slices.Collect(maps.Keys(given))
	slices.SortFunc(digests, func(a, b schema.Digest) int {
		return cmp.Or(cmp.Compare(given[b], given[a]), strings.Compare(a.Hex(), b.Hex()))
	})
	for _, d := range digests[:min(len(digests), maxPackages)] {
		row, err := s.packageRow(ctx, rel, d, given[d])
		if err != nil {
			return nil, err
		}
		r.Packages = append(r.Packages, row)
	}
	return r, nil
}

// maxPackages is how many packages of a release are listed: each costs two objects of the store.
const maxPackages = 50

func changes(p schema.AboutPlan) []string {
	list := []string{}
	for _, c := range []struct {
		n         int
		one, many string
	}{{p.Package, "gets another package", "get another package"}, {p.Added, "is new", "are new"},
		{p.Removed, "is gone", "are gone"}, {p.Attributes, "has other attributes", "have other attributes"}} {
		if c.n > 0 {
			list = append(list, plural(c.n, c.one, c.many))
		}
	}
	if rest := p.Hosts - p.Package - p.Added; rest > 0 {
		list = append(list, plural(rest, "keeps its package", "keep their package"))
	}
	return list
}

// of finds a package among those that hosts are given: which of them is meant to have it.
func of(rel *origin.Release, is func(schema.Candidate) bool) (c schema.Candidate, ok bool) {
	for _, a := range rel.Hosts {
		for _, c := range a.Candidates() {
			if is(c) {
				return c, true
			}
		}
	}
	return c, false
}

func (s *Source) packageRow(ctx context.Context, rel *origin.Release, d schema.Digest, n int) (view.PackageRow, error) {
	c, ok := of(rel, func(c schema.Candidate) bool { return c.SHA256 == d })
	if !ok {
		return view.PackageRow{}, fmt.Errorf("package %s: %w", d.Short(), missing)
	}
	row := view.PackageRow{SHA256: d, Release: c.Release, Size: c.Length, Hosts: n, SignedBy: []string{}}
	m, err := s.manifest(ctx, c.Manifest)
	if errors.Is(err, fs.ErrNotExist) {
		return row, nil
	}
	if err != nil {
		return row, err
	}
	row.Platform, row.Format, row.Name, row.Version = m.Platform, m.Format, m.Name, m.Version
	signatures, err := s.signatures(ctx, c.Manifest)
	for _, sig := range signatures {
		row.SignedBy = append(row.SignedBy, sig.Key)
	}
	return row, err
}

func (s *Source) manifest(ctx context.Context, d schema.Digest) (*schema.Manifest, error) {
	b, err := store.Read(ctx, s.Store, schema.ManifestKey(d), schema.MaxManifest)
	if err != nil {
		return nil, err
	}
	return schema.DecodeManifest(b, d)
}

// signatures are those that lie beside a package, by what they say: hosts verify them.
func (s *Source) signatures(ctx context.Context, manifest schema.Digest) ([]view.Signature, error) {
	list := []view.Signature{}
	for e, err := range s.Store.List(ctx, schema.StatementsPrefix(manifest), "") {
		if err != nil {
			return nil, err
		}
		b, err := store.Read(ctx, s.Store, e.Key, schema.MaxStatement)
		if err != nil {
			return nil, err
		}
		var env statement.Envelope
		if schema.Decode(b, &env) != nil {
			continue // no signature, to a host neither
		}
		for _, sig := range env.Signatures {
			if len(sig.KeyID) == 64 && strings.Trim(sig.KeyID, "0123456789abcdef") == "" {
				list = append(list, view.Signature{Key: sig.KeyID[:16], KeyID: sig.KeyID})
			}
		}
	}
	return list, nil
}

// Package is one that hosts are given, by its digest in hex or the start of it, of 8 digits or more.
func (s *Source) Package(ctx context.Context, v Viewer, hex string) (*view.Package, error) {
	hex = strings.TrimPrefix(hex, "sha256:")
	if len(hex) < 8 || len(hex) > 64 || strings.Trim(hex, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("package %.80q: %w", hex, missing)
	}
	head, rel := s.head()
	tally, installed := map[hosts.State]int{}, 0
	example := ""
	var found schema.Candidate
	ok := false
	for name, a := range rel.Hosts {
		if v.sees != nil && !v.sees(name) {
			continue
		}
		for i, c := range a.Candidates() {
			if !strings.HasPrefix(c.SHA256.Hex(), hex) {
				continue
			}
			if found, ok = c, true; i == 0 && (example == "" || name < example) {
				example = name
			}
		}
	}
	if !ok {
		return nil, fmt.Errorf("package %s: %w", hex, missing)
	}
	p := s.Hosts.Page(v.Filter(hosts.Query{Package: []string{found.SHA256.Hex()}}), 1)
	for state, n := range p.Facets[hosts.FacetState] {
		tally[hosts.State(state)] = n
	}
	f := v.Filter(hosts.Query{})
	f.Installed = map[schema.Digest]bool{found.SHA256: true}
	installed = s.Hosts.Page(f, 1).Matched
	row, err := s.packageRow(ctx, rel, found.SHA256, p.Matched)
	if err != nil {
		return nil, err
	}
	out := &view.Package{Head: head, PackageRow: row, Manifest: found.Manifest, Recipe: found.Recipe,
		Revoked: slices.Contains(rel.Policy.Revoked, found.SHA256), Tally: Tally(tally), Installed: installed,
		Plugins: []string{}, Signatures: []view.Signature{}, Example: example}
	if m, err := s.manifest(ctx, found.Manifest); err == nil {
		out.Bake = m.Bake
	}
	if out.Signatures, err = s.signatures(ctx, found.Manifest); err != nil {
		return nil, err
	}
	c, files, err := s.contents(ctx, found.Manifest)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		out.Plugins, out.Files = append(out.Plugins, c.Plugins...), files
	}
	return out, nil
}

// contents are the files of a package, by path.
func (s *Source) contents(ctx context.Context, manifest schema.Digest) (*schema.Contents, []view.File, error) {
	c, err := s.contentsOf(ctx, manifest)
	if err != nil {
		return nil, nil, err
	}
	files := []view.File{}
	for _, e := range c.Files {
		files = append(files, view.File{ContentsEntry: e})
	}
	for _, segment := range c.Shared {
		shared, err := s.contentsOf(ctx, segment)
		if err != nil {
			return nil, nil, err
		}
		for _, e := range shared.Files {
			files = append(files, view.File{ContentsEntry: e, Shared: true})
		}
	}
	slices.SortFunc(files, func(a, b view.File) int { return strings.Compare(a.Path, b.Path) })
	return c, files, nil
}

func (s *Source) contentsOf(ctx context.Context, d schema.Digest) (*schema.Contents, error) {
	b, err := store.Read(ctx, s.Store, schema.ContentsKey(d), schema.MaxContents)
	if err != nil {
		return nil, err
	}
	return schema.DecodeContents(b)
}

// with are the packages that have all of a query's plugins and files, among those that signed metadata give hosts and
// those that hosts were given before and report to have installed.
func (s *Source) with(ctx context.Context, q hosts.Query) (map[schema.Digest]bool, error) {
	_, rel := s.head()
	installed, found := s.Hosts.Installed(), map[schema.Digest]bool{}
	manifests, err := s.Inventory.Manifests(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range rel.Hosts {
		for _, c := range a.Candidates() {
			manifests[c.SHA256] = c.Manifest
		}
	}
	for d := range installed {
		manifest, known := manifests[d]
		if !known {
			continue // the store may have it no longer, and nothing signed says what it is
		}
		c, files, err := s.contents(ctx, manifest)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if has(c, files, q) {
			found[d] = true
		}
	}
	return found, nil
}

// has reports whether a package has one of the plugins, and one of the files: values of a field are OR.
func has(c *schema.Contents, files []view.File, q hosts.Query) bool {
	if len(q.Plugin) > 0 && !slices.ContainsFunc(q.Plugin, func(p string) bool {
		return slices.Contains(c.Plugins,
			p)
	}) {
		return false
	}
	return len(q.File) == 0 || slices.ContainsFunc(q.File, func(want string) bool {
		path, sum, _ := strings.Cut(want, "@")
		sum = strings.TrimPrefix(sum, "sha256:")
		return slices.ContainsFunc(files, func(f view.File) bool {
			return f.Path == path && (sum == "" || strings.HasPrefix(f.SHA256.Hex(), sum))
		})
	})
}
