// Package rebuild makes published packages again, byte for byte, from commits: to verify what is published, and to say
// of a hash that a host shows which release, commit and signatures it comes from. What it bakes owes nothing to the
// published store but source files, which are compared with their digests (overlay.go).
package rebuild

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/accept"
	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
	"bakehouse/serve/store/maintain"
)

// Provenance is where a package comes from, as `reproduce --json` prints it.
type Provenance struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Name     string          `json:"name"`
	Version  string          `json:"version"`
	Platform schema.Platform `json:"platform"`
	Format   schema.Format   `json:"format"`
	Size     int64           `json:"size"`
	Bake     int             `json:"bake"`
	Anchor   schema.Digest   `json:"anchor"`

	// Release is what first gave it to a host, of those that the store still has; nil if it was not published or only as
	// an older candidate of releases that are kept.
	Release  *schema.Release `json:"release,omitempty"`
	Hosts    []Given         `json:"hosts"`
	SignedBy []string        `json:"signedBy"` // names of keys in the repository
	// Unknown are the ids of keys that also signed, or pretend to have, and are none of the repository's.
	Unknown []string        `json:"unknownKeys,omitempty"`
	Files   []contents.File `json:"files"`

	manifest *schema.Manifest
}

// Given says since when a host was given the package, and whether it is still.
type Given struct {
	Host    string    `json:"host"`
	Release int64     `json:"release"`
	Since   time.Time `json:"since"`
	// Now is "newest", "older" for a candidate that the host may still be waiting for, or empty.
	Now string `json:"now,omitempty"`
}

// hash is what people have in their hands: a digest of a package or a manifest, its first 16 digits, or a recipe.
type hash struct{ text string }

func parseHash(s string) (hash, error) {
	text := strings.TrimPrefix(strings.ToLower(s), "sha256:")
	_, err := schema.ParseHex(text)
	if err != nil && !schema.RecipeID(text).Valid() {
		return hash{}, fault.Hint(fmt.Errorf("%.80q is neither 64 nor 16 hex digits", s),
			"give the hash of a package or manifest, its first 16 digits, or a recipe, as `bakehouse-agent status` shows them")
	}
	return hash{text}, nil
}

// means reports whether h is about a package.
func (h hash) means(pkg, manifest schema.Digest, recipe schema.RecipeID) bool {
	return h.text == pkg.Hex() || h.text == manifest.Hex() || h.text == pkg.Short() || h.text == manifest.Short() ||
		h.text == string(recipe)
}

// trace finds what the kept releases of a store say of a hash: a Provenance for each package that it may mean, by
// digest.
func trace(ctx context.Context, st store.Store, anchor []byte, h hash) ([]*Provenance, error) {
	history, err := maintain.OpenHistory(ctx, st, anchor)
	if err != nil {
		return nil, err
	}
	found := map[schema.Digest]*tracing{} // by manifest
	seen := map[string]bool{}
	var releases []*schema.Release // newest first
	for i, version := range history.Versions() {
		s, err := history.At(ctx, version)
		if err != nil {
			return nil, err
		}
		releases = append(releases, &s.Release)
		for a, err := range s.Assignments(ctx, seen) {
			if err != nil {
				return nil, err
			}
			for j, c := range a.Candidates() {
				if !h.means(c.SHA256, c.Manifest, c.Recipe) {
					continue
				}
				t := found[c.Manifest]
				if t == nil {
					t = &tracing{candidate: c, hosts: map[string]Given{}}
					found[c.Manifest] = t
				}
				t.note(a.Host, c, i == 0, j == 0, &s.Release)
			}
		}
	}
	var all []*Provenance
	for _, t := range found {
		m, err := publish.ReadManifest(ctx, st, t.candidate.Manifest)
		if err != nil {
			return nil, err
		}
		o := describe(m, t.candidate.Manifest)
		o.Release = t.release(releases)
		for _, host := range slices.Sorted(maps.Keys(t.hosts)) {
			o.Hosts = append(o.Hosts, t.hosts[host])
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b *Provenance) int { return strings.Compare(a.Package.Hex(), b.Package.Hex()) })
	return all, nil
}

// tracing is what is known of one package while states are looked through, the newest first.
type tracing struct {
	candidate schema.Candidate
	hosts     map[string]Given
	current   *schema.Release // the oldest that gives it to a host as the newest package
}

func (t *tracing) note(host string, c schema.Candidate, head, newest bool, r *schema.Release) {
	if newest {
		t.current = r
	}
	g, known := t.hosts[host]
	if !known {
		g = Given{Host: host}
		if head {
			g.Now = map[bool]string{true: "newest", false: "older"}[newest]
		}
	}
	// The first time that it was given counts, as far as that is kept.
	if g.Release == 0 || c.Release < g.Release {
		g.Release, g.Since = c.Release, c.Since
	}
	t.hosts[host] = g
}

// release is the one that first gave the package: of its number the oldest that is kept, or else any whose commit
// yields it.
func (t *tracing) release(newestFirst []*schema.Release) *schema.Release {
	number := int64(0)
	for _, g := range t.hosts {
		if number == 0 || g.Release < number {
			number = g.Release
		}
	}
	for _, r := range slices.Backward(newestFirst) {
		if r.Number == number {
			return r
		}
	}
	return t.current
}

func describe(m *schema.Manifest, digest schema.Digest) *Provenance {
	return &Provenance{Package: m.SHA256, Manifest: digest, Recipe: m.Recipe, Name: m.Name, Version: m.Version,
		Platform: m.Platform, Format: m.Format,
		Size: m.Size, Bake: m.Bake, Anchor: m.Anchor, Hosts: []Given{}, SignedBy: []string{}, Files: []contents.File{},
		manifest: m}
}

// signatures fills in who signed the package, by the keys of the repository.
func (o *Provenance) signatures(ctx context.Context, st store.Store, f *fleet.Fleet) error {
	signed, err := accept.On(ctx, st, schema.StatementFor(o.manifest, o.Manifest), f)
	if err == nil {
		o.SignedBy, o.Unknown = signed.By, signed.Unknown
	}
	return err
}
