package accept

import (
	"context"
	"io"
	"slices"
	"time"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/schema"
	"bakehouse/serve/store/stores"
)

// Listed is a published package, as `package list --json` prints it.
type Listed struct {
	Package  schema.Digest   `json:"package"`
	Manifest schema.Digest   `json:"manifest"`
	Recipe   schema.RecipeID `json:"recipe"`
	Platform schema.Platform `json:"platform"`
	Format   schema.Format   `json:"format"`
	Size     int64           `json:"size"`
	Hosts    []string        `json:"hosts"`
	SignedBy []string        `json:"signedBy"` // names of keys in the repository
	Unknown  []string        `json:"unknownKeys,omitempty"`
	// Accepted says whether every host can install it, whichever of its packages it runs now.
	Accepted bool      `json:"accepted"`
	Refused  []Refused `json:"refusedBy,omitempty"`
}

// Refused is why hosts would not install a package.
type Refused struct {
	Running schema.Digest `json:"running"` // the package whose updater says so
	Accepts string        `json:"accepts"` // such as "2 of old, new"
	Hosts   []string      `json:"hosts"`
}

// List verifies the published release and says of each package who signed it, and which hosts would refuse it.
func List(ctx context.Context, where desired.Where, location, cacheDir string, log io.Writer) ([]*Listed, error) {
	cached, err := desired.OpenCache(where.Repo, cacheDir, log)
	if err != nil {
		return nil, err
	}
	head, err := desired.At(ctx, where, cached)
	if err != nil {
		return nil, err
	}
	st, err := stores.OpenExisting(ctx, location)
	if err != nil {
		return nil, err
	}
	published, err := publish.Read(ctx, st, head.Fleet, time.Now())
	if err != nil {
		return nil, err
	}
	before, err := desired.Earlier(ctx, head.Repo, published.Commit(), head.Cache)
	if err != nil {
		return nil, err
	}
	accepted := NewFinder(st, head, before)
	byManifest := map[schema.Digest]*Listed{}
	signed := map[schema.Digest]*Signatures{}
	enough := map[[2]schema.Digest]bool{} // for the updater of one package (manifest) to install another
	listed := []*Listed{}
	for a := range published.InOrder() {
		l := byManifest[a.Manifest]
		if l == nil {
			m, err := publish.ReadManifest(ctx, st, a.Manifest)
			if err != nil {
				return nil, err
			}
			s, err := On(ctx, st, schema.StatementFor(m, a.Manifest), head.Fleet)
			if err != nil {
				return nil, err
			}
			l = &Listed{Package: m.SHA256, Manifest: a.Manifest, Recipe: m.Recipe, Platform: m.Platform, Format: m.Format,
				Size:     m.Size,
				SignedBy: s.By, Unknown: s.Unknown, Accepted: true}
			byManifest[a.Manifest], signed[a.Manifest] = l, s
			listed = append(listed, l)
		}
		l.Hosts = append(l.Hosts, a.Host)
		for _, c := range a.Candidates() {
			by, err := accepted.Of(ctx, c)
			if err != nil {
				return nil, err
			}
			pair := [2]schema.Digest{c.Manifest, a.Manifest}
			ok, known := enough[pair]
			if !known {
				ok = by.Given(signed[a.Manifest])
				enough[pair] = ok
			}
			if !ok {
				l.refuse(c.SHA256, by, a.Host)
			}
		}
	}
	return listed, nil
}

func (l *Listed) refuse(running schema.Digest, by *Rule, host string) {
	l.Accepted = false
	i := slices.IndexFunc(l.Refused, func(r Refused) bool { return r.Running == running })
	if i < 0 {
		i = len(l.Refused)
		l.Refused = append(l.Refused, Refused{Running: running, Accepts: by.String()})
	}
	l.Refused[i].Hosts = append(l.Refused[i].Hosts, host)
}
