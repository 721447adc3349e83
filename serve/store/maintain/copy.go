package maintain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// CopyReport says what Copy did.
type CopyReport struct {
	Head    int64 `json:"head"`    // version of the newest timestamp of both
	Copied  Tally `json:"copied"`  // objects
	Present Tally `json:"present"` // objects that were there already
}

// copies is how many objects are copied at a time.
const copies = 8

// Copy creates in to every object of from that is not there. What names others comes after what it names, timestamps
// last and in order: whenever it is cut off, each timestamp in to leads to a whole state, and running it again goes on.
// What is addressed by its content is digested on the way and not created if it is altered. Nothing is deleted, and
// leases of the lock are not copied.
//
// An object that is in to under the same key in another size, or a timestamp with other bytes, is a refusal: the two
// are stores of different fleets, or of different histories.
func Copy(ctx context.Context, from, to store.Store) (report *CopyReport, err error) {
	to, release, err := store.WithLock(ctx, to, "store copy")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	c := &copier{from: from, to: to, there: map[string]int64{}}
	for e, err := range to.List(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		c.there[e.Key] = e.Size
	}
	// A reconcile may run beside this: timestamps are listed first, so that all they name is listed.
	var stamps, rest []store.Entry
	for e, err := range from.List(ctx, schema.TimestampDir, "") {
		if err != nil {
			return nil, err
		}
		stamps = append(stamps, e)
	}
	for e, err := range from.List(ctx, "", "") {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(e.Key, schema.TimestampDir) && !strings.HasPrefix(e.Key, schema.LockDir) {
			rest = append(rest, e)
		}
	}
	if len(stamps) == 0 {
		return nil, fault.Hint(errors.New("the store to copy from has no release"), "check its location")
	}
	if err := c.meet(ctx, stamps); err != nil {
		return nil, err
	}
	for _, s := range slices.Backward(stages) { // what is deleted last is created first
		var some []store.Entry
		rest = slices.DeleteFunc(rest, func(e store.Entry) bool {
			mine := strings.HasPrefix(e.Key, s.dir) && (s.only == nil || s.only(e.Key)) && s.dir != schema.TimestampDir
			if mine {
				some = append(some, e)
			}
			return mine
		})
		if s.dir == schema.TimestampDir {
			some = rest // what no stage knows: source files, what is reserved
		}
		if err := c.all(ctx, some); err != nil {
			return nil, err
		}
	}
	for _, e := range stamps {
		if err := c.one(ctx, e); err != nil {
			return nil, err
		}
	}
	c.report.Head, _ = schema.ParseTimestampKey(stamps[len(stamps)-1].Key)
	return &c.report, nil
}

type copier struct {
	from, to store.Store
	there    map[string]int64 // size by key, of what to has

	mu     sync.Mutex
	report CopyReport
}

// meet holds that the newest timestamp of to that from has too is the same one, and that from has the newest.
func (c *copier) meet(ctx context.Context, stamps []store.Entry) error {
	head, err := store.HeadFrom(ctx, c.to, 1)
	if err != nil {
		return err
	}
	differ := func() error {
		return fault.Refuse(errors.New("the two stores have different histories: nothing was copied"),
			"copy into an empty store, or find out which of the two is the fleet's")
	}
	if head.Key > stamps[len(stamps)-1].Key {
		return differ()
	}
	for _, e := range slices.Backward(stamps) {
		if _, ok := c.there[e.Key]; !ok {
			continue
		}
		a, err := store.Read(ctx, c.from, e.Key, schema.MaxTimestamp)
		if err != nil {
			return err
		}
		b, err := store.Read(ctx, c.to, e.Key, schema.MaxTimestamp)
		if err == nil && string(a) != string(b) {
			err = differ()
		}
		return err
	}
	return nil
}

// all copies objects in no order.
func (c *copier) all(ctx context.Context, some []store.Entry) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := make(chan store.Entry)
	var group sync.WaitGroup
	for range copies {
		group.Go(func() {
			for e := range work {
				if err := c.one(ctx, e); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, e := range some {
		if ctx.Err() != nil {
			break
		}
		work <- e
	}
	close(work)
	group.Wait()
	return context.Cause(ctx)
}

func (c *copier) one(ctx context.Context, e store.Entry) error {
	if size, ok := c.there[e.Key]; ok && size == e.Size {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.Present.add(e.Size)
		return nil
	} else if ok {
		return fault.Refuse(fmt.Errorf("%s has %d bytes in one store and %d in the other", e.Key, e.Size, size),
			"run bakehouse store fsck on both")
	}
	r, err := c.from.Open(ctx, e.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a gc took it, and no timestamp that is listed needs it
	}
	if err != nil {
		return err
	}
	defer r.Close()
	var in io.Reader = r
	if want, ok := kinds.Addressed(e.Key); ok {
		in = kinds.Digested(r, want, e.Key)
	}
	err = c.to.Create(ctx, e.Key, in)
	if altered := (*schema.AlteredError)(nil); errors.As(err, &altered) {
		return fault.Refuse(err,
			"nothing that needs it was copied: run bakehouse store fsck on the store to copy from")
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Copied.add(e.Size)
	return nil
}
