package serve

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

// release is one verified state of the fleet. It never changes.
type release struct {
	root, timestamp int64
	stamp           []byte // the timestamp's file
	expires         time.Time
	policy          *schema.Policy
	access          *schema.Access
	hosts           map[string]*schema.Assignment
	renamed         map[string]string          // former names of hosts to present ones
	targets         map[string][]schema.Digest // public top-level targets by name, newest first
	binOf           func(host string) string
	tree            schema.Digest    // root of the snapshot's tree
	versions        map[string]int64 // of snapshot, targets and bins, by role
}

// publicTargets are the top-level targets that every host may read. The access target is for servers only.
var publicTargets = []string{schema.PolicyTarget, schema.ReleaseTarget}

// loader makes releases of what stands in the store. It keeps one verifier, so that no release is older than the last.
type loader struct {
	store  store.Store
	anchor []byte
	first  int // version of the anchor
	verify *trust.Client

	mu   sync.Mutex
	sums map[string]schema.Digest // of metadata files that a verified release was read from, by name
}

func newLoader(st store.Store, anchor []byte) (*loader, error) {
	client, err := trust.Open("", anchor, nil)
	if err != nil {
		return nil, err
	}
	root, err := trust.ParseRoot(anchor)
	if err != nil {
		return nil, err
	}
	client.AllowExpired() // see the package comment
	return &loader{store: st, anchor: anchor, first: int(root.Signed.Version), verify: client,
		sums: map[string]schema.Digest{}}, nil
}

func (l *loader) head(ctx context.Context) (int64, error) { return store.Head(ctx, l.store) }

// load verifies the store's newest release. prev, if any, is the one served now.
func (l *loader) load(ctx context.Context, prev *release) (*release, error) {
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
	access, err := l.verify.Access(ctx, src)
	if errors.Is(err, trust.ErrNoTarget) {
		access, err = &schema.Access{}, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := l.verify.Release(ctx, src); err != nil && !errors.Is(err, trust.ErrNoTarget) {
		return nil, err
	}
	hosts, renamed := map[string]*schema.Assignment{}, map[string]string{}
	for a, err := range l.verify.All(ctx, src) {
		if err != nil {
			return nil, err
		}
		hosts[a.Host] = a
		for _, former := range a.Was {
			renamed[former] = a.Host
		}
	}
	r := &release{stamp: l.verify.Timestamp(), policy: l.verify.Policy(), access: access, hosts: hosts,
		renamed: renamed, targets: map[string][]schema.Digest{}, binOf: l.verify.BinOf, tree: src.tree}
	r.root, r.timestamp = l.verify.Versions()
	set := l.verify.Verified()
	r.versions = map[string]int64{metadata.SNAPSHOT: set.Snapshot.Signed.Version}
	for name, meta := range set.Snapshot.Signed.Meta {
		r.versions[strings.TrimSuffix(name, ".json")] = meta.Version
	}
	if r.policy == nil || r.timestamp < 1 {
		return nil, fmt.Errorf("timestamp %d: the release is incomplete", r.timestamp)
	}
	if r.expires, err = expiry(r.stamp); err != nil {
		return nil, err
	}
	for _, name := range publicTargets {
		// The last one too: a host may be between its metadata and its targets when the release moves.
		if d, ok := src.targets[name]; ok {
			r.targets[name] = append(r.targets[name], d)
		}
		if prev != nil {
			for _, d := range prev.targets[name] {
				if len(r.targets[name]) < 2 && !slices.Contains(r.targets[name], d) {
					r.targets[name] = append(r.targets[name], d)
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
	if version, role, ok := parseMetadataName(name); ok && role == "root" && version >= s.root {
		return nil, fs.ErrNotExist
	}
	return s.Source.Metadata(ctx, name, limit)
}

// sum returns the digest that a metadata file had when it was verified.
func (l *loader) sum(name string) (schema.Digest, bool) {
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

// watcher holds the current release and follows the store's head.
type watcher struct {
	*loader
	changed func(*release)   // called with each new release before it is served
	record  func(store.Mark) // and with the newest timestamp that ever was

	mu      sync.Mutex // held while the store is looked at
	mark    store.Mark // the newest timestamp that was ever served, also before a restart
	current *release   // guarded by state
	trouble string     // why the head is not served, for everybody to read; guarded by state
	state   sync.RWMutex
	retry   time.Time     // not before, after a failure
	backoff time.Duration // of the last failure
	glance  time.Time     // not before, at polls
}

// now returns the release to serve, and what is wrong with the store's head if anything.
func (w *watcher) now() (*release, string) {
	w.state.RLock()
	defer w.state.RUnlock()
	return w.current, w.trouble
}

// maxBackoff bounds the pause after a head that did not verify.
const maxBackoff = 30 * time.Second

// follow looks at the store's head and serves it if it is newer and verifies. The error says why not; it has been
// recorded as the current trouble. A server that has nothing else serves a store that was set back, too: hosts take
// nothing older than what they have, and new ones can be registered.
func (w *watcher) follow(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.followLocked(ctx)
}

func (w *watcher) followLocked(ctx context.Context) error {
	cur, _ := w.now()
	next, err := w.newer(ctx, cur)
	w.state.Lock()
	defer w.state.Unlock()
	if err != nil {
		w.trouble = publicTrouble(err)
		if w.current == nil {
			w.current = next
		}
		w.backoff = min(max(2*w.backoff, time.Second), maxBackoff)
		w.retry = time.Now().Add(w.backoff)
		return err
	}
	w.trouble, w.backoff = "", 0
	if next != nil {
		w.current = next
	}
	return nil
}

// publicTrouble names no path: anybody may read it.
func publicTrouble(err error) string {
	if back := (*store.SetBackError)(nil); errors.As(err, &back) {
		return back.Error() + "; " + fault.HintOf(err)
	}
	return "the store's head is unreadable, altered or older than what is served; the last verified release is served"
}

// newer returns the store's release if it is newer than cur, nil if it is the same. With an error it returns one if
// there is no cur and the store was set back.
func (w *watcher) newer(ctx context.Context, cur *release) (*release, error) {
	head, err := w.head(ctx)
	if err != nil {
		return nil, err
	}
	forgotten, setBack := w.mark.Check(ctx, w.store, head, func() ([][]byte, error) {
		return store.Roots(ctx, w.store, w.anchor, w.first)
	})
	if forgotten {
		w.mark = store.Mark{}
	}
	switch {
	case cur != nil && setBack != nil:
		return nil, setBack
	case cur != nil && head == cur.timestamp && !forgotten:
		return w.newerRoot(ctx, cur), nil
	case head == 0:
		return nil, fault.Hint(errors.New("the store holds no release"), "publish one with bakehouse reconcile")
	}
	next, err := w.load(ctx, cur)
	if err != nil {
		return nil, err
	}
	if next.timestamp < head {
		return nil, fault.Refuse(fmt.Errorf("what the store has as timestamp %d is timestamp %d", head, next.timestamp),
			"run bakehouse store fsck")
	}
	w.serving(next)
	return next, setBack
}

// serving notes that next is about to be served.
func (w *watcher) serving(next *release) {
	if next.timestamp > w.mark.Version {
		w.mark = store.Mark{Version: next.timestamp, Timestamp: next.stamp}
		w.record(w.mark)
	}
	if w.changed != nil {
		w.changed(next)
	}
}

// newerRoot returns cur under the root that follows its own, if there is one by which it still verifies. If it does
// not, the timestamp that does is about to come.
func (w *watcher) newerRoot(ctx context.Context, cur *release) *release {
	f, err := w.store.Open(ctx, schema.MetadataKey("root", cur.root+1))
	if err != nil || f.Close() != nil {
		return nil
	}
	next, err := w.load(ctx, cur)
	if err != nil || next.timestamp != cur.timestamp {
		return nil
	}
	w.serving(next)
	return next
}

// tick is follow, unless a failure is too recent or somebody is at it.
func (w *watcher) tick(ctx context.Context) error {
	if !w.mu.TryLock() {
		return nil
	}
	defer w.mu.Unlock()
	if time.Now().Before(w.retry) {
		return nil
	}
	return w.followLocked(ctx)
}

// patience is how long a poll waits for a release that it noticed to be loaded. A large fleet's takes longer; its hosts
// get it at their next poll.
const patience = 3 * time.Second

// peek is tick for polls: it only asks for the next timestamp by name, and spends at most a twentieth of the time on
// that, however slow the store is. A host that polls just after reconcile so gets the new release at once.
func (w *watcher) peek(ctx context.Context) error {
	if !w.mu.TryLock() {
		return nil
	}
	start := time.Now()
	if start.Before(w.glance) || start.Before(w.retry) {
		w.mu.Unlock()
		return nil
	}
	cur, _ := w.now()
	f, err := w.store.Open(ctx, schema.TimestampKey(cur.timestamp+1))
	w.glance = time.Now().Add(20 * time.Since(start))
	if err != nil {
		w.mu.Unlock()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	followed := make(chan error, 1)
	go func() {
		defer w.mu.Unlock()
		// Not the poll's context: loading must not end with the one poll that noticed the release.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		followed <- errors.Join(f.Close(), w.followLocked(ctx))
	}()
	select {
	case err := <-followed:
		return err
	case <-time.After(patience):
	case <-ctx.Done():
	}
	return nil
}

const loadTimeout = 10 * time.Minute
