package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/trust/statement"

	"bakehouse/reconcile/console"
	"bakehouse/reconcile/contents"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Origin is where a package comes from, as `reproduce --json` prints it.
type Origin struct {
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

	// Release is what first gave it to a host, of those that the store still has; nil if it was not published or only as an
	// older candidate of releases that are kept.
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
	return h.text == pkg.Hex() || h.text == manifest.Hex() || h.text == pkg.Short() || h.text == manifest.Short() || h.text == string(recipe)
}

// trace finds what the kept releases of a store say of a hash: an Origin for each package that it may mean, by digest.
func trace(ctx context.Context, st store.Store, anchor []byte, h hash) ([]*Origin, error) {
	history, err := store.OpenHistory(ctx, st, anchor)
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
	var all []*Origin
	for _, t := range found {
		m, err := readManifest(ctx, st, t.candidate.Manifest)
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
	slices.SortFunc(all, func(a, b *Origin) int { return strings.Compare(a.Package.Hex(), b.Package.Hex()) })
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

// release is the one that first gave the package: of its number the oldest that is kept, or else any whose commit yields it.
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

func describe(m *schema.Manifest, digest schema.Digest) *Origin {
	return &Origin{Package: m.SHA256, Manifest: digest, Recipe: m.Recipe, Name: m.Name, Version: m.Version, Platform: m.Platform, Format: m.Format,
		Size: m.Size, Bake: m.Bake, Anchor: m.Anchor, Hosts: []Given{}, SignedBy: []string{}, Files: []contents.File{}, manifest: m}
}

// signatures fills in who signed the package, by the keys of the repository.
func (o *Origin) signatures(ctx context.Context, st store.Store, f *fleet.Fleet) error {
	signed, err := signaturesOn(ctx, st, schema.StatementFor(o.manifest, o.Manifest), f)
	if err == nil {
		o.SignedBy, o.Unknown = signed.by, signed.unknown
	}
	return err
}

// signatures are those on a package.
type signatures struct {
	statement schema.Statement
	envelopes [][]byte
	by        []string // names of keys in the repository, sorted
	unknown   []string // ids of other keys, or of those that did not make what is said to be theirs
}

// signaturesOn reads the signatures that the store has, and tells whose they are. A retired key's still count as made by it.
func signaturesOn(ctx context.Context, st store.Store, s schema.Statement, f *fleet.Fleet) (*signatures, error) {
	var keys []schema.AcceptedKey
	for _, name := range slices.Sorted(maps.Keys(f.Keys)) {
		if k := f.Keys[name]; slices.Contains(k.Uses, fleet.UsePackage) {
			keys = append(keys, schema.AcceptedKey{Name: name, Public: k.Public})
		}
	}
	found := &signatures{statement: s, by: []string{}}
	prefix := schema.StatementsPrefix(s.Package)
	for e, err := range st.List(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		b, err := store.Read(ctx, st, e.Key, schema.MaxStatement)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		found.envelopes = append(found.envelopes, b)
		names, err := statement.Verify([][]byte{b}, s, keys, 1)
		if err != nil {
			found.unknown = append(found.unknown, strings.TrimSuffix(e.Key[len(prefix):], ".json"))
			continue
		}
		found.by = append(found.by, names...)
	}
	slices.Sort(found.by)
	return found, nil
}

// tell is o for people.
func (o *Origin) tell() string {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("package", "%s", o.Package)
	line("", "%s %s, %s %s, %s, bake version %d", o.Name, o.Version, o.Platform, o.Format, console.Size(o.Size), o.Bake)
	line("manifest", "%s", o.Manifest)
	line("recipe", "%s", o.Recipe)
	switch r := o.Release; {
	case r != nil && r.Number > 0:
		line("release", "%d, issued %s by bakehouse %s", r.Number, r.Issued.Format(time.RFC3339), r.Tool)
		line("commit", "%s", r.Commit)
		line("tree", "%s", r.Tree)
	case r != nil:
		line("commit", "%s", r.Commit)
		line("tree", "%s", r.Tree)
	default:
		line("release", "not kept: gc took the releases that gave it to a host first")
	}
	line("signed by", "%s", cmp.Or(strings.Join(o.SignedBy, ", "), "no key of the repository"))
	for _, id := range o.Unknown {
		line("", "and key id %s, which is none of the repository's or did not make it", id)
	}
	for i, g := range o.Hosts {
		what := map[string]string{"newest": "it is the host's newest", "older": "the host has a newer one"}[g.Now]
		since := ""
		if g.Release > 0 {
			since = fmt.Sprintf(" since release %d (%s)", g.Release, g.Since.Format(time.RFC3339))
		}
		line(map[bool]string{true: "hosts"}[i == 0], "%s%s%s", g.Host, since, prefixed("; ", cmp.Or(what, "not any more")))
	}
	for i, f := range o.Files {
		line(map[bool]string{true: "files"}[i == 0], "%s", f)
	}
	return b.String()
}

func prefixed(with, text string) string {
	if text == "" {
		return ""
	}
	return with + text
}
