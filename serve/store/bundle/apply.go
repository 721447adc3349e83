package bundle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust"
	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/kinds"
)

// Applied says what Apply did.
type Applied struct {
	From    int64     `json:"from"` // version of the store's timestamp before, 0 if it had none
	To      int64     `json:"to"`   // and after
	Release int64     `json:"release"`
	Objects int       `json:"objects"` // created
	Bytes   int64     `json:"bytes"`   // of them
	Expires time.Time `json:"expires"` // of the timestamp; from then on hosts install nothing new
}

// Apply verifies a bundle, whole, from a root that is trusted, and then brings the store to its state. The objects of a
// bundle that was applied in part are there already when it is applied again. One that is applied is no error.
func Apply(ctx context.Context, b *Bundle, to store.Store, anchor []byte) (*Applied, error) {
	a := &applier{bundle: b, to: to, anchor: anchor, there: map[string]int64{}}
	if err := a.verify(ctx); err != nil {
		return nil, err
	}
	if a.did.From == a.did.To {
		return &a.did, nil
	}
	return &a.did, a.write(ctx)
}

type applier struct {
	bundle *Bundle
	to     store.Store
	anchor []byte
	there  map[string]int64 // size by key, of what the store has

	mu  sync.Mutex
	did Applied
}

// verify holds everything that has to hold before a byte is written.
func (a *applier) verify(ctx context.Context) error {
	for e, err := range a.to.List(ctx, "", "") {
		if err != nil {
			return err
		}
		a.there[e.Key] = e.Size
	}
	if err := a.signed(ctx); err != nil {
		return err
	}
	var err error
	if a.did.From, err = store.Head(ctx, a.to); err != nil {
		return err
	}
	a.did.To = a.bundle.Index.To
	switch {
	case a.did.From > a.did.To:
		return fault.Refuse(fmt.Errorf("the bundle brings timestamp %d, and the store is at %d: nothing was written",
			a.did.To, a.did.From), "an older bundle cannot take a store back; carry a newer one")
	case a.bundle.Index.From > a.did.From:
		return fault.Hint(
			fmt.Errorf("the bundle goes on from timestamp %d, and the store is at %d: nothing was written",
				a.bundle.Index.From, a.did.From),
			"apply the bundle before it first, or make one with --since %d", a.did.From)
	}
	if err := a.bundle.sound(); err != nil {
		return err
	}
	if err := a.meets(ctx); err != nil {
		return err
	}
	return a.state(ctx)
}

// signed follows the roots from the one that is trusted, and holds that the newest names those who signed the index.
func (a *applier) signed(ctx context.Context) error {
	first, err := trust.ParseRoot(a.anchor)
	if err != nil {
		return err
	}
	roots, err := store.Roots(ctx, over{a.to, a}, a.anchor, int(first.Signed.Version))
	if err != nil {
		return err
	}
	for _, o := range a.bundle.Index.Objects {
		role, v, err := kinds.Metadata(o.Key)
		if err != nil || role != "root" || v > first.Signed.Version || v == first.Signed.Version &&
			o.SHA256 == schema.DigestOf(a.anchor) {
			continue
		}
		// It cannot be verified from a later one, and a server may be started that believes it.
		if _, ok := a.there[o.Key]; !ok || v == first.Signed.Version {
			return fault.Refuse(fmt.Errorf("the bundle's %s is not one that is held", o.Key),
				"nothing was written; set --root to the fleet's first root, trust/1.root.json in its config repo")
		}
	}
	root, err := trust.VerifyRoots(roots)
	if err != nil {
		return fault.Refuse(fmt.Errorf("the roots in the bundle do not follow from the one that is held: %w", err),
			"nothing was written; is it a bundle of this fleet?")
	}
	who, err := quorum.OfRoot(quorum.Legible(root), metadata.TIMESTAMP).Verifier()
	if err != nil {
		return err
	}
	if len(who.Verify(a.bundle.message, distinct(a.bundle.sigs))) == 0 {
		return fault.Refuse(
			fmt.Errorf("the bundle is not signed by the timestamp keys of root %d", root.Signed.Version),
			"nothing was written; it is another fleet's, or it was altered on the way")
	}
	return nil
}

// distinct leaves out all but the first signature of a key.
func distinct(sigs []quorum.Signature) (some []quorum.Signature) {
	seen := map[string]bool{}
	for _, s := range sigs {
		if !seen[s.KeyID] {
			some = append(some, s)
		}
		seen[s.KeyID] = true
	}
	return some
}

// meets holds that what is in both is the same: the store's history and the bundle's are one.
func (a *applier) meets(ctx context.Context) error {
	for _, o := range a.bundle.Index.Objects {
		size, ok := a.there[o.Key]
		if !ok {
			continue
		}
		same := size == o.Size
		if same && (below(schema.MetadataDir)(o.Key) || below(schema.TimestampDir)(o.Key)) {
			b, err := store.Read(ctx, a.to, o.Key, size)
			if err != nil {
				return err
			}
			same = schema.DigestOf(b) == o.SHA256
		}
		// A key may have signed a package again; what the store has of it stays.
		if !same && !below(schema.StatementDir)(o.Key) && !below(schema.ContentsDir)(o.Key) {
			return fault.Refuse(
				fmt.Errorf("%s in the store is another one than in the bundle: nothing was written", o.Key),
				"the two are of different histories, or the store is damaged: run bakehouse store fsck")
		}
	}
	return nil
}

// state holds that the bundle's timestamp leads, by what the bundle and the store have, to a whole state that verifies
// and that does not go back behind the store's.
func (a *applier) state(ctx context.Context) error {
	client, err := trust.Open("", a.anchor, nil)
	if err != nil {
		return err
	}
	client.AllowExpired() // what hosts think of that is theirs
	if a.did.From > 0 {
		was := store.Source(a.to, func(context.Context) (int64, error) { return a.did.From, nil })
		if err := client.Refresh(ctx, was, nil); err != nil {
			return fmt.Errorf("the store as it is: %w", err)
		}
	}
	both := over{a.to, a}
	source := store.Source(both, func(context.Context) (int64, error) { return a.did.To, nil })
	if err := client.Refresh(ctx, source, nil); err != nil {
		return a.unsound(err)
	}
	if _, got := client.Versions(); got != a.did.To {
		return damaged("what it has as timestamp %d is timestamp %d", a.did.To, got)
	}
	a.did.Expires = client.Verified().Timestamp.Signed.Expires
	release, err := client.Release(ctx, source)
	if err != nil {
		return a.unsound(err)
	}
	a.did.Release = release.Number
	for _, read := range []func() error{
		func() error { _, err := client.Access(ctx, source); return err },
		func() error { _, err := client.About(ctx, source); return err },
	} {
		if err := read(); err != nil && !errors.Is(err, trust.ErrNoTarget) {
			return a.unsound(err)
		}
	}
	stated := a.stated()
	seen := map[schema.Digest]bool{}
	for assignment, err := range client.All(ctx, source) {
		if err != nil {
			return a.unsound(err)
		}
		for _, c := range assignment.Candidates() {
			if seen[c.Manifest] {
				continue
			}
			seen[c.Manifest] = true
			if err := a.pack(ctx, both, c, stated); err != nil {
				return a.unsound(fmt.Errorf("host %s: %w", assignment.Host, err))
			}
		}
	}
	return nil
}

// unsound is a state that does not verify, or is not whole.
func (a *applier) unsound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.Refuse(fmt.Errorf("neither the bundle nor the store has all of timestamp %d: %w", a.did.To, err),
			"nothing was written; make one that brings all that the store lacks: set --have to what bakehouse store "+
				"list prints there")
	}
	return fmt.Errorf("timestamp %d of the bundle: nothing was written: %w", a.did.To, err)
}

// stated are the directories of statements that have any.
func (a *applier) stated() map[string]bool {
	dirs := map[string]bool{}
	note := func(key string) {
		if i := strings.LastIndexByte(key, '/'); below(schema.StatementDir)(key) {
			dirs[key[:i+1]] = true
		}
	}
	for key := range a.there {
		note(key)
	}
	for _, o := range a.bundle.Index.Objects {
		note(o.Key)
	}
	return dirs
}

// pack holds that a package is there, with at least one statement on it.
func (a *applier) pack(ctx context.Context, both store.Store, c schema.Candidate, stated map[string]bool) error {
	b, err := store.Read(ctx, both, schema.ManifestKey(c.Manifest), schema.MaxManifest)
	if err != nil {
		return err
	}
	m, err := schema.DecodeManifest(b, c.Manifest)
	if err != nil {
		return err
	}
	if m.SHA256 != c.SHA256 {
		return &schema.AlteredError{Object: "package", Want: c.SHA256, Got: m.SHA256}
	}
	for _, ref := range m.Segments() {
		key := schema.SegmentKey(ref.Digest)
		size, ok := a.there[key]
		if p, carried := a.bundle.at[key]; !ok && carried {
			size, ok = p.Size, true
		}
		if !ok || size != ref.Size {
			return fmt.Errorf("%s of %d bytes: %w", key, ref.Size, fs.ErrNotExist)
		}
	}
	if !stated[schema.StatementsPrefix(c.Manifest)] {
		return fmt.Errorf("a statement on package %s: %w", c.SHA256.Short(), fs.ErrNotExist)
	}
	return nil
}

// over is the store with what the bundle brings.
type over struct {
	store.Store
	a *applier
}

func (o over) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if _, ok := o.a.there[key]; !ok {
		if r, ok := o.a.bundle.open(key); ok {
			return io.NopCloser(r), ctx.Err()
		}
	}
	return o.Store.Open(ctx, key)
}

// writers is how many objects are created at a time.
const writers = 8

// write creates the objects, kind by kind.
func (a *applier) write(ctx context.Context) (err error) {
	to, release, err := store.WithLock(ctx, a.to, "store apply")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	if head, err := store.Head(ctx, to); err != nil {
		return err
	} else if head != a.did.From {
		return fault.Hint(fmt.Errorf("timestamp %d was published meanwhile: nothing was written", head), "run it again")
	}
	rest := a.bundle.Index.Objects
	for len(rest) > 0 {
		n := 1 // roots and the timestamp, one after the other
		if !isRole(rest[0].Key, "root") {
			first, _ := rank(rest[0].Key)
			for ; n < len(rest); n++ {
				if r, _ := rank(rest[n].Key); r != first {
					break
				}
			}
		}
		if err := a.create(ctx, to, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// create creates objects in no order.
func (a *applier) create(ctx context.Context, to store.Store, some []Object) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	work := make(chan Object)
	var group sync.WaitGroup
	for range min(writers, len(some)) {
		group.Go(func() {
			for o := range work {
				if err := a.one(ctx, to, o); err != nil {
					stop(err)
				}
			}
		})
	}
	for _, o := range some {
		if ctx.Err() != nil {
			break
		}
		work <- o
	}
	close(work)
	group.Wait()
	return context.Cause(ctx)
}

func (a *applier) one(ctx context.Context, to store.Store, o Object) error {
	if _, ok := a.there[o.Key]; ok {
		return nil
	}
	r, err := a.bundle.checked(o) // again: the file may be another's by now
	if err != nil {
		return err
	}
	err = to.Create(ctx, o.Key, r)
	if errors.Is(err, fs.ErrExist) {
		return a.same(ctx, to, o)
	}
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.did.Objects++
		a.did.Bytes += o.Size
	}
	return err
}

// same holds that an object which came meanwhile is the one of the bundle.
func (a *applier) same(ctx context.Context, to store.Store, o Object) error {
	if o.Size > schema.MaxTargets {
		return nil // addressed by its content
	}
	theirs, err := store.Read(ctx, to, o.Key, schema.MaxTargets)
	if err != nil {
		return err
	}
	r, _ := a.bundle.open(o.Key)
	if ours, err := io.ReadAll(r); err != nil || !bytes.Equal(ours, theirs) {
		return errors.Join(err, fault.Refuse(fmt.Errorf("another wrote %s meanwhile", o.Key),
			"run bakehouse store fsck"))
	}
	return nil
}
