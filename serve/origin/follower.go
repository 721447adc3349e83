package origin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// Follower holds the current release and follows the store's head.
type Follower struct {
	*loader
	watch Watch

	mu     sync.Mutex  // held while the store is looked at
	listed store.Entry // the head when all was last looked at; the zero Entry if that is not known
	looked time.Time   // when that was

	mark    store.Mark // the newest timestamp that was ever served, also before a restart
	current *Release   // guarded by state
	trouble string     // why the head is not served, for everybody to read; guarded by state
	state   sync.RWMutex
	retry   time.Time     // not before, after a failure
	backoff time.Duration // of the last failure
	glance  time.Time     // not before, at polls

	Pace // of Peek; set by New, changed by tests alone
}

// Pace is how much polls do for a host to get a new release at once.
type Pace struct {
	Share    int           // Peek looks for one part in so many of the time, however slow the store is; 0: each time
	Patience time.Duration // how long it waits for a release that it noticed; a large fleet's takes longer, and its
	// hosts get it at their next poll
}

// polite is the pace of a server.
var polite = Pace{Share: 20, Patience: 3 * time.Second}

// Watch is what a follower's owner wants to know. They are called by one goroutine at a time.
type Watch struct {
	Changed func(*Release)   // with each new release before it is served
	Record  func(store.Mark) // with the newest timestamp that ever was, to be given to New after a restart

	Failed func()          // what a look read is of no use; may be nil
	Own    func() []string // names of the hosts whose part of a release is read; nil: all of it
}

// New returns a follower of the store, whose releases are verified from the root anchor. mark is the newest timestamp
// that was served before. Nothing is read yet: Follow does.
func New(st store.Store, anchor []byte, mark store.Mark, w Watch) (*Follower, error) {
	l, err := newLoader(st, anchor, w.Own)
	if err != nil {
		return nil, err
	}
	return &Follower{loader: l, watch: w, mark: mark, Pace: polite}, nil
}

// Now returns the release to serve, and what is wrong with the store's head if anything.
func (f *Follower) Now() (*Release, string) {
	f.state.RLock()
	defer f.state.RUnlock()
	return f.current, f.trouble
}

// maxBackoff bounds the pause after a head that did not verify.
const maxBackoff = 30 * time.Second

// Follow looks at the store's head and serves it if it is newer and verifies. The error says why not; it has been
// recorded as the current trouble. A server that has nothing else serves a store that was set back, too: hosts take
// nothing older than what they have, and new ones can be registered.
func (f *Follower) Follow(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.followLocked(ctx)
}

func (f *Follower) followLocked(ctx context.Context) error {
	cur, _ := f.Now()
	next, err := f.newer(store.For(ctx, ""), cur)
	if err != nil && f.watch.Failed != nil {
		f.watch.Failed()
	}
	if err = f.settle(next, err); err == nil {
		f.noteHead(ctx)
	}
	return err
}

// settle makes what a look at the store found what is known.
func (f *Follower) settle(next *Release, err error) error {
	f.state.Lock()
	defer f.state.Unlock()
	if err != nil {
		f.trouble = publicTrouble(err)
		if f.current == nil {
			f.current = next
		}
		f.backoff = min(max(2*f.backoff, time.Second), maxBackoff)
		f.retry = time.Now().Add(f.backoff)
		return err
	}
	f.trouble, f.backoff = "", 0
	if next != nil {
		f.current = next
	}
	return nil
}

// rootInterval is how often Tick looks for more than another head: for a root that was published without one.
const rootInterval = time.Minute

// noteHead remembers how the head is listed that is served now.
func (f *Follower) noteHead(ctx context.Context) {
	f.looked, f.listed = time.Now(), store.Entry{}
	cur, _ := f.Now()
	e, err := store.HeadFrom(ctx, f.store, cur.Timestamp)
	if err == nil && e.Key == schema.TimestampKey(cur.Timestamp) {
		f.listed = e
	}
}

// unchanged reports whether the head is listed as it was, which costs one request.
func (f *Follower) unchanged(ctx context.Context) bool {
	v, ok := schema.ParseTimestampKey(f.listed.Key)
	if _, trouble := f.Now(); !ok || trouble != "" || f.listed.Time.IsZero() || time.Since(f.looked) > rootInterval {
		return false
	}
	e, err := store.HeadFrom(ctx, f.store, v)
	return err == nil && e.Key == f.listed.Key && e.Size == f.listed.Size && e.Time.Equal(f.listed.Time)
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
func (f *Follower) newer(ctx context.Context, cur *Release) (*Release, error) {
	head, err := f.head(ctx)
	if err != nil {
		return nil, err
	}
	forgotten, setBack := f.mark.Check(ctx, f.store, head, func() ([][]byte, error) {
		return store.Roots(ctx, f.store, f.anchor, f.first)
	})
	if forgotten {
		f.mark = store.Mark{}
	}
	switch {
	case cur != nil && setBack != nil:
		return nil, setBack
	case cur != nil && head == cur.Timestamp && !forgotten && !f.others():
		return f.newerRoot(ctx, cur), nil
	case head == 0:
		return nil, fault.Hint(errors.New("the store holds no release"), "publish one with bakehouse reconcile")
	}
	next, err := f.load(ctx, cur)
	if err != nil {
		return nil, err
	}
	if next.Timestamp < head {
		return nil, fault.Refuse(fmt.Errorf("what the store has as timestamp %d is timestamp %d", head, next.Timestamp),
			"run bakehouse store fsck")
	}
	f.serving(next)
	return next, setBack
}

// serving notes that next is about to be served.
func (f *Follower) serving(next *Release) {
	if next.Timestamp > f.mark.Version {
		f.mark = store.Mark{Version: next.Timestamp, Timestamp: next.Stamp}
		f.watch.Record(f.mark)
	}
	f.watch.Changed(next)
}

// newerRoot returns cur under the root that follows its own, if there is one by which it still verifies. If it does
// not, the timestamp that does is about to come.
func (f *Follower) newerRoot(ctx context.Context, cur *Release) *Release {
	if _, err := f.store.Stat(ctx, schema.MetadataKey("root", cur.Root+1)); err != nil {
		return nil
	}
	next, err := f.load(ctx, cur)
	if err != nil || next.Timestamp != cur.Timestamp {
		return nil
	}
	f.serving(next)
	return next
}

// Tick is Follow, unless a failure is too recent or somebody is at it.
func (f *Follower) Tick(ctx context.Context) error {
	if !f.mu.TryLock() {
		return nil
	}
	defer f.mu.Unlock()
	if time.Now().Before(f.retry) || f.unchanged(ctx) {
		return nil
	}
	return f.followLocked(ctx)
}

// Peek is Tick for polls: it only asks for the next timestamp by name, and spends at most its share of the time on
// that. A host that polls just after reconcile so gets the new release at once.
func (f *Follower) Peek(ctx context.Context) error {
	if !f.mu.TryLock() {
		return nil
	}
	start := time.Now()
	if start.Before(f.glance) || start.Before(f.retry) {
		f.mu.Unlock()
		return nil
	}
	cur, _ := f.Now()
	_, err := f.store.Stat(ctx, schema.TimestampKey(cur.Timestamp+1))
	f.glance = time.Now().Add(time.Duration(f.Share) * time.Since(start))
	if err != nil {
		f.mu.Unlock()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	followed := make(chan error, 1)
	go func() {
		// Not the poll's context: loading must not end with the one poll that noticed the release.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadTimeout)
		defer cancel()
		err := f.followLocked(ctx)
		f.mu.Unlock() // before the poll is answered: the host's next one may bring the next release
		followed <- err
	}()
	select {
	case err := <-followed:
		return err
	case <-time.After(f.Patience):
	case <-ctx.Done():
	}
	return nil
}

const loadTimeout = 10 * time.Minute
