package judge

import (
	"context"
	"fmt"
	"strings"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/rebuild"
	"bakehouse/schema"
)

// packages knows what commits yield, and bakes again what it does not know.
type packages struct {
	Options
	sound     map[schema.Digest]bool     // manifests of packages that a commit yields
	differing map[schema.Digest][]string // manifests of packages that no commit yields, and how they differ
	missing   map[schema.Digest]string   // manifests of packages that a commit yields, and what of them the store lacks
	manifests map[schema.Digest]*schema.Manifest
}

func newPackages(o Options) *packages {
	return &packages{o, map[schema.Digest]bool{}, map[schema.Digest][]string{}, map[schema.Digest]string{},
		map[schema.Digest]*schema.Manifest{}}
}

// compare says of which hosts the newest package is not what the commit yields. What a clean release gave before is
// known by its manifest, which says what it was baked from; anything else is baked again.
func (p *packages) compare(ctx context.Context, v *Verdict, s *desired.State, next *publish.State) error {
	var again []*schema.Assignment
	for a := range next.InOrder() {
		want, ok := s.Hosts[a.Host]
		if !ok {
			continue
		}
		m, err := p.manifest(ctx, a.Manifest)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			v.alarm(a.Host, "package", "%v", err)
		case m.SHA256 != a.SHA256 || m.Size != a.Length:
			v.alarm(a.Host, "package", "its manifest describes %s of %d bytes, and %s of %d bytes is signed", m.SHA256,
				m.Size, a.SHA256, a.Length)
		case m.Recipe != a.Recipe:
			v.alarm(a.Host, "recipe", "%s is published, and its manifest has %s", a.Recipe, m.Recipe)
		case m.Bake != bake.Version:
			if len(v.Unjudged) == 0 {
				v.unjudged(a.Host, "package", "baked by bake version %d, and this program has %d: judge it with "+
					"bakehouse %s", m.Bake, bake.Version, v.Tool)
			}
		case p.sound[a.Manifest] && plan.PackageOf(m) == want.Package, p.Host != "" && p.Host != a.Host:
		default:
			again = append(again, a)
		}
	}
	all, err := rebuild.Grouped(func(yield func(*schema.Assignment, error) bool) {
		for _, a := range again {
			if !yield(a, nil) {
				return
			}
		}
	}, s)
	if err != nil {
		return err
	}
	if err := rebuild.Compare(ctx, p.Store, s, all, next.Release(), p.Programs, p.Jobs, p.Log); err != nil {
		return err
	}
	for _, e := range all {
		if len(e.Differences) == 0 {
			p.sound[e.Package.Manifest] = true
			if e.Missing != "" {
				p.missing[e.Package.Manifest] = e.Missing
			}
			continue
		}
		p.differing[e.Package.Manifest] = e.Differences
		for _, host := range e.Hosts {
			v.differs(Entry{host, "package", fmt.Sprintf("%s is not what commit %.12s yields: %s", e.Package.SHA256,
				v.Commit, strings.Join(e.Differences, "; "))})
		}
	}
	return nil
}

func (p *packages) manifest(ctx context.Context, d schema.Digest) (*schema.Manifest, error) {
	if m := p.manifests[d]; m != nil {
		return m, nil
	}
	m, err := publish.ReadManifest(ctx, p.Store, d)
	if err == nil {
		p.manifests[d] = m
	}
	return m, err
}
