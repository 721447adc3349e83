package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// Release is one verified state of the fleet. It never changes.
type Release struct {
	Root, Timestamp int64
	Stamp           []byte // the timestamp's file
	Expires         time.Time
	Policy          *schema.Policy
	Access          *schema.Access
	Info            *schema.Release // where it came from; nil: the state does not say
	About           *schema.About   // what people ask of it; nil: the state does not say
	Hosts           map[string]*schema.Assignment
	Targets         map[string][]schema.Digest // public top-level targets by name, newest first
	BinOf           func(host string) string
	Tree            schema.Digest    // root of the snapshot's tree
	Versions        map[string]int64 // of snapshot, targets and bins, by role

	renamed map[string]string // former names of hosts to present ones
}

// publicTargets are the top-level targets that every host may read. The access target is for servers only.
var publicTargets = []string{schema.PolicyTarget, schema.ReleaseTarget}

// loader makes releases of what stands in the store. It keeps one verifier, so that no release is older than the last.
type loader struct {
	store  store.Store
	anchor []byte
	first  int // version of the anchor
	verify *trust.Client
	own    func() []string // nil: all hosts
	read   []string        // of own, at the last load

	mu   sync.Mutex
	sums map[string]schema.Digest // of metadata files that a verified release was read from, by name
}

func newLoader(st store.Store, anchor []byte, own func() []string) (*loader, error) {
	client, err := trust.Open("", anchor, nil)
	if err != nil {
		return nil, err
	}
	root, err := trust.ParseRoot(anchor)
	if err != nil {
		return nil, err
	}
	client.AllowExpired() // see the package comment
	return &loader{store: st, anchor: anchor, first: int(root.Signed.Version), verify: client, own: own,
		sums: map[string]schema.Digest{}}, nil
}

func (l *loader) head(ctx context.Context) (int64, error) { return store.Head(ctx, l.store) }

// load verifies the store's newest release. prev, if any, is the one served now.
func (l *loader) load(ctx context.Context, prev *Release) (*Release, error) {
	src := &recorder{Source: store.Source(l.store, l.head), sums: map[string]schema.Digest{},
		targets: map[string]schema.Digest{}}
	err := l.verify.Refresh(ctx, src, nil)
	if prev == nil && fault.IsRefusal(err) {
		// A run may have died between the root that drops a key and the timestamp that the next key signs.
		for root, _ := l.verify.Versions(); root > 1 && err != nil; root-- {
			err = l.before(ctx, src, root)
		}
	}
	if err != nil {
		return nil, err
	}
	r := &Release{Access: &schema.Access{}, Hosts: map[string]*schema.Assignment{}, renamed: map[string]string{}}
	if l.own == nil {
		err = l.whole(ctx, src, r)
	} else {
		err = l.part(ctx, src, r)
	}
	if err != nil {
		return nil, err
	}
	r.Stamp, r.Policy, r.BinOf, r.Tree = l.verify.Timestamp(), l.verify.Policy(), l.verify.BinOf, src.tree
	r.Targets = map[string][]schema.Digest{}
	if r.Tree.IsZero() && prev != nil {
		r.Tree = prev.Tree // what is verified already is not read again
	}
	r.Root, r.Timestamp = l.verify.Versions()
	set := l.verify.Verified()
	r.Versions = map[string]int64{metadata.SNAPSHOT: set.Snapshot.Signed.Version}
	for name, meta := range set.Snapshot.Signed.Meta {
		r.Versions[strings.TrimSuffix(name, ".json")] = meta.Version
	}
	if r.Policy == nil || r.Timestamp < 1 {
		return nil, fmt.Errorf("timestamp %d: the release is incomplete", r.Timestamp)
	}
	if r.Expires, err = expiry(r.Stamp); err != nil {
		return nil, err
	}
	for _, name := range publicTargets {
		// The last one too: a host may be between its metadata and its targets when the release moves.
		if d, ok := src.targets[name]; ok {
			r.Targets[name] = append(r.Targets[name], d)
		}
		if prev != nil {
			for _, d := range prev.Targets[name] {
				if len(r.Targets[name]) < 2 && !slices.Contains(r.Targets[name], d) {
					r.Targets[name] = append(r.Targets[name], d)
				}
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, d := range src.sums {
		l.sums[name] = d
	}
	return r, nil
}

// whole reads what a release says to servers, and of all hosts.
func (l *loader) whole(ctx context.Context, src trust.Source, r *Release) error {
	access, err := l.verify.Access(ctx, src)
	if err == nil {
		r.Access = access
	} else if !errors.Is(err, trust.ErrNoTarget) {
		return err
	}
	if r.Info, err = l.verify.Release(ctx, src); err != nil && !errors.Is(err, trust.ErrNoTarget) {
		return err
	}
	r.About, _ = l.verify.About(ctx, src) // for people only: no host waits for it
	for a, err := range l.verify.All(ctx, src) {
		if err != nil {
			return err
		}
		r.add(a)
	}
	return nil
}

// part reads what a release says of the server's own hosts, from their bins alone.
func (l *loader) part(ctx context.Context, src trust.Source, r *Release) error {
	names := l.own()
	own, seen := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		own[name] = true
	}
	for _, name := range names {
		bin := l.verify.BinOf(name)
		if seen[bin] {
			continue
		}
		seen[bin] = true
		list, err := l.verify.Bin(store.For(ctx, name), src, bin)
		if err != nil {
			return err
		}
		for _, a := range list {
			if own[a.Host] || slices.ContainsFunc(a.Was, func(was string) bool { return own[was] }) {
				r.add(a)
			}
		}
	}
	if len(names) > 0 {
		info, err := l.verify.Release(store.For(ctx, names[0]), src)
		if err != nil && !errors.Is(err, trust.ErrNoTarget) {
			return err
		}
		r.Info = info
	}
	l.read = names
	return nil
}

// others reports whether the server's own hosts are others than those of the last load.
func (l *loader) others() bool { return l.own != nil && !slices.Equal(l.own(), l.read) }

func (r *Release) add(a *schema.Assignment) {
	r.Hosts[a.Host] = a
	for _, former := range a.Was {
		r.renamed[former] = a.Host
	}
}

// before starts the verifier anew, as if that root and those after it were not there.
func (l *loader) before(ctx context.Context, src trust.Source, root int64) error {
	client, err := trust.Open("", l.anchor, nil)
	if err != nil {
		return err
	}
	client.AllowExpired()
	if err := client.Refresh(ctx, rootsBefore{src, root}, nil); err != nil {
		return err
	}
	l.verify = client
	return nil
}

// rootsBefore is a source without the root of that version.
type rootsBefore struct {
	trust.Source
	root int64
}

func (s rootsBefore) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	if version, role, ok := ParseName(name); ok && role == "root" && version >= s.root {
		return nil, fs.ErrNotExist
	}
	return s.Source.Metadata(ctx, name, limit)
}

// Sum returns the digest that a metadata file had when it was verified.
func (l *loader) Sum(name string) (schema.Digest, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.sums[name]
	return d, ok
}

// expiry reads when a timestamp that is verified already expires; the verifier's own clock stands still.
func expiry(stamp []byte) (time.Time, error) {
	var t struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	err := schema.Decode(stamp, &t)
	return t.Signed.Expires, err
}

// recorder notes what a load read, so that the very bytes that were verified are known again when hosts ask for them.
type recorder struct {
	trust.Source
	mu      sync.Mutex
	sums    map[string]schema.Digest
	targets map[string]schema.Digest
	tree    schema.Digest
}

func (r *recorder) Tree(ctx context.Context, root schema.Digest, limit int64) ([]byte, error) {
	r.tree = root // by one goroutine, before the bins
	return r.Source.Tree(ctx, root, limit)
}

func (r *recorder) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := r.Source.Metadata(ctx, name, limit)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.sums[name] = schema.DigestOf(b)
	}
	return b, err
}

func (r *recorder) Target(ctx context.Context, name string, d schema.Digest, limit int64) ([]byte, error) {
	b, err := r.Source.Target(ctx, name, d, limit)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.targets[name] = d
	}
	return b, err
}
