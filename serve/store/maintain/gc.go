package maintain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// DefaultKeep is how many releases GC keeps, and DefaultGrace how long it leaves what is new, unless told otherwise.
const (
	DefaultKeep  = 10
	DefaultGrace = 24 * time.Hour
)

// GCOptions say what GC keeps.
type GCOptions struct {
	// Anchor is a root of the fleet that the caller trusts, as bytes: the published state is verified from it.
	Anchor []byte
	// Keep is how many releases are kept, by their numbers, the newest included; at least 1. Of a release, every
	// state is kept that said something else than the one before; of states that only renewed signatures, the newest.
	Keep int
	// Grace protects what a run that has not published yet may count on, and hosts that are in the middle of an update:
	// objects younger than that stay with all that they name, and so do the states that were current since.
	Grace time.Duration
	// DryRun deletes nothing. It takes no lock, so beside a run that publishes its result is an estimate.
	DryRun bool
}

// Tally counts objects and their bytes.
type Tally struct {
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (t *Tally) add(size int64) { t.Objects, t.Bytes = t.Objects+1, t.Bytes+size }

// KindTally is what GC made of one kind of objects, such as "segments". Kept are those that a kept state needs, Spared
// those that none needs and that stay all the same, because they are new, or not understood. Freed is what was deleted
// or, in a dry run, would be.
type KindTally struct {
	Kind   string `json:"kind"`
	Kept   Tally  `json:"kept"`
	Spared Tally  `json:"spared"`
	Freed  Tally  `json:"freed"`
}

// KeptState is a published state that stays.
type KeptState struct {
	Timestamp int64     `json:"timestamp"`
	Release   int64     `json:"release"`
	Commit    string    `json:"commit"`
	Issued    time.Time `json:"issued"`
}

// GCReport says what GC did.
type GCReport struct {
	DryRun bool        `json:"dryRun"`
	Head   int64       `json:"head"`   // version of the newest timestamp
	States []KeptState `json:"states"` // newest first
	Kinds  []KindTally `json:"kinds"`  // in the order of deletion
}

// GC deletes what no kept state needs. A state is kept if it is the newest, if its release is one of the last Keep, or
// if it was the newest within Grace; and it is kept whole, with every package that it names for any host, older
// candidates included, so that hosts can fetch them, a person can go back to it, and its packages can be traced and
// rebuilt. Roots, source files and what is reserved stay for good.
//
// It deletes names before what they name (timestamps, snapshots, targets and bins, contents, statements, manifests,
// claims, segments), each kind durably before the next. So wherever it is cut off, every timestamp that is left leads
// to a whole state, and running it again goes on. Versions above those of the newest state stay too: a number that was
// used, by a run that died or by a timestamp that is lost, must never come to mean something else.
//
// Nothing is deleted unless the newest state and all that are kept verify and are whole. GC holds the store's lock. The
// lock is what makes it safe: a run that reuses an old segment makes it no younger, so Grace alone would not protect
// it.
func GC(ctx context.Context, s store.Store, o GCOptions) (_ *GCReport, failed error) {
	if o.Keep < 1 || o.Grace < 0 {
		return nil, fault.Hint(fmt.Errorf("gc: keep %d releases, grace %s", o.Keep, o.Grace),
			"keep at least 1, the published one")
	}
	if !o.DryRun {
		held, release, err := store.WithLock(ctx, s, "gc")
		if err != nil {
			return nil, err
		}
		defer func() { failed = errors.Join(failed, release()) }()
		s = held
	}
	g := &collector{ctx: ctx, store: s, GCOptions: o, entries: map[string]store.Entry{}, live: map[string]bool{},
		spared: map[string]bool{}, seen: map[string]bool{}, current: map[string]int64{}}
	if err := g.list(); err != nil {
		return nil, err
	}
	if err := g.mark(); err != nil {
		return nil, fault.Hint(fmt.Errorf("gc: nothing was deleted: %w", err), "%s", markHint(err))
	}
	g.report.DryRun = o.DryRun
	if err := g.spare(); err != nil {
		return nil, fault.Hint(fmt.Errorf("gc: nothing was deleted: %w", err), "%s", markHint(err))
	}
	g.lists()
	return &g.report, g.sweep()
}

func markHint(err error) string {
	if hint := fault.HintOf(err); hint != "" {
		return hint
	}
	return "what cannot be read is not taken for garbage: run `bakehouse store fsck`, and restore what is wrong or missing"
}

// collector is one run of GC.
type collector struct {
	GCOptions
	ctx     context.Context
	store   store.Store
	now     time.Time
	entries map[string]store.Entry
	keys    []string // of entries, in order

	live    map[string]bool  // what a kept state needs
	spared  map[string]bool  // what stays for another reason
	seen    map[string]bool  // bins whose packages are marked
	current map[string]int64 // version of each role in the newest state

	report GCReport
}

// list reads the names before anything else, so that what is created meanwhile is not up for deletion.
func (g *collector) list() error {
	for e, err := range g.store.List(g.ctx, "", "") {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Key, schema.LockDir) {
			continue // whoever has the lock looks after those
		}
		g.entries[e.Key] = e
		g.keys = append(g.keys, e.Key)
		if e.Time.After(g.now) {
			g.now = e.Time
		}
	}
	now, err := g.store.Now(g.ctx)
	switch {
	case err == nil:
		g.now = now
	case !g.DryRun || !errors.Is(err, fs.ErrPermission):
		return err
	} // Else the newest object's time is now: that makes everything younger, never older.
	return nil
}

// young reports whether an object was created within the grace period.
func (g *collector) young(e store.Entry) bool { return e.Time.IsZero() || g.now.Sub(e.Time) < g.Grace }

// stage is a kind of objects, and which of its keys are deleted together.
type stage struct {
	dir  string
	only func(key string) bool
}

// stages is the order of deletion.
var stages = []stage{
	{schema.TimestampDir, nil},
	{schema.MetadataDir, isSnapshot},
	{schema.MetadataDir, func(key string) bool { return !isSnapshot(key) }},
	{schema.TreeDir, nil},
	{schema.TargetDir, nil},
	{schema.StatementDir, nil},
	{schema.ContentsDir, nil},
	{schema.ManifestDir, nil},
	{schema.PayloadDir, nil},
	{schema.SegmentDir, nil},
}

func isSnapshot(key string) bool { return strings.HasSuffix(key, ".snapshot.json") }

// sweep counts everything, and deletes what is neither live nor spared.
func (g *collector) sweep() error {
	// A run that took no notice of the lock has published: what it counts on was not looked at.
	if head, err := store.Head(g.ctx, g.store); err != nil {
		return err
	} else if head != g.report.Head {
		return fault.Hint(fmt.Errorf("gc: nothing was deleted: timestamp %d was published meanwhile", head), "run it again")
	}
	garbage := make([][]string, len(stages))
	tally := func(kind string) *KindTally {
		i := slices.IndexFunc(g.report.Kinds, func(k KindTally) bool { return k.Kind == kind })
		if i < 0 {
			i = len(g.report.Kinds)
			g.report.Kinds = append(g.report.Kinds, KindTally{Kind: kind})
		}
		return &g.report.Kinds[i]
	}
	for _, s := range stages {
		tally(strings.TrimSuffix(s.dir, "/"))
	}
	for _, key := range g.keys {
		dir, _, _ := strings.Cut(key, "/")
		t, size := tally(dir), g.entries[key].Size
		i := slices.IndexFunc(stages, func(s stage) bool {
			return strings.HasPrefix(key, s.dir) &&
				(s.only == nil || s.only(key))
		})
		switch {
		case g.live[key] || strings.HasPrefix(key, schema.SourceFileDir) || schema.Reserved(key):
			t.Kept.add(size)
		case i < 0 || g.spared[key]:
			t.Spared.add(size)
		default:
			garbage[i] = append(garbage[i], key)
			t.Freed.add(size)
		}
	}
	if g.DryRun {
		return nil
	}
	for _, keys := range garbage {
		if len(keys) == 0 {
			continue
		}
		if err := g.store.DeleteBatch(g.ctx, keys); err != nil {
			return err
		}
	}
	return nil
}
