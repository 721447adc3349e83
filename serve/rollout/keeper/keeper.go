// Package keeper keeps the verdicts of a server on the releases of its fleet: it steps them with the hosts as they are,
// stores each before it acts on it, and takes what people say. All servers of one inventory keep the same verdicts:
// whoever changes one first has decided it, and the others read that.
package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"bakehouse/schema"
	"bakehouse/serve/hosts"
	"bakehouse/serve/inventory"
	"bakehouse/serve/rollout"
)

// Store keeps verdicts; *inventory.DB is one.
type Store interface {
	Verdicts(ctx context.Context) ([]inventory.Verdict, error)
	// Decide is inventory.ErrVerdictMoved if another version is kept than the one before.
	Decide(ctx context.Context, v inventory.Verdict) error
	Undecide(ctx context.Context, names ...string) error
}

const (
	pauseName    = "pause"
	releasePart  = "release/"
	keptPast     = 50          // verdicts on releases that no host is given any more
	storedEvery  = time.Minute // how far a gate has watched
	storeTimeout = 20 * time.Second
)

// Keeper has the verdicts. Make it with New. It is safe for concurrent use.
type Keeper struct {
	store Store
	count func() *rollout.Census
	log   *slog.Logger
	now   func() time.Time

	stepping sync.Mutex // held while verdicts change

	mu       sync.RWMutex
	rings    []schema.Ring
	releases map[int64]time.Time // that hosts are given, since when
	kept     map[int64]*verdict
	live     map[int64]*rollout.Verdict // as it was at the last step, stored or not
	pause    paused
	trouble  string
}

type verdict struct {
	version int64
	*rollout.Verdict
}

// paused is the row of the pause. Act is nil if the rollout goes on.
type paused struct {
	version int64
	Act     *rollout.Act `json:"act"`
}

// New reads what is kept. count counts the fleet's hosts as they are now; nil: that is not known yet.
func New(ctx context.Context, st Store, count func() *rollout.Census, now func() time.Time, log *slog.Logger) (*Keeper,
	error) {
	k := &Keeper{store: st, count: count, log: log, now: now, releases: map[int64]time.Time{},
		kept: map[int64]*verdict{}, live: map[int64]*rollout.Verdict{}}
	return k, k.read(ctx)
}

// read takes what is stored.
func (k *Keeper) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	rows, err := k.store.Verdicts(ctx)
	if err != nil {
		return err
	}
	kept, pause := map[int64]*verdict{}, paused{}
	for _, row := range rows {
		number, ofRelease := strings.CutPrefix(row.Name, releasePart)
		switch {
		case row.Name == pauseName:
			err = json.Unmarshal(row.Body, &pause)
			pause.version = row.Version
		case ofRelease:
			v := &verdict{version: row.Version, Verdict: &rollout.Verdict{}}
			err = json.Unmarshal(row.Body, v.Verdict)
			if n, nerr := strconv.ParseInt(number, 10, 64); nerr != nil || err == nil && n != v.Release {
				err = errors.New("it is of another release")
			}
			kept[v.Release] = v
		}
		if err != nil {
			return fmt.Errorf("the verdict %.40q in the inventory: %w", row.Name, err)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept, k.pause = kept, pause
	return nil
}

// Publish takes what a release signs, and judges it before anybody is given it.
func (k *Keeper) Publish(ctx context.Context, p *schema.Policy, given map[string]*schema.Assignment) error {
	releases := map[int64]time.Time{}
	for _, a := range given {
		for _, c := range a.Candidates() {
			if first, ok := releases[c.Release]; !ok || c.Since.Before(first) {
				releases[c.Release] = c.Since
			}
		}
	}
	k.mu.Lock()
	k.rings, k.releases = p.Rings, releases
	k.mu.Unlock()
	return k.Tick(ctx)
}

// Tick brings all verdicts up to date. Where the store fails, those that are kept hold on.
func (k *Keeper) Tick(ctx context.Context) error {
	k.stepping.Lock()
	defer k.stepping.Unlock()
	err := k.read(ctx)
	if err == nil {
		err = k.step(ctx)
	}
	if err != nil && err.Error() != k.trouble && ctx.Err() == nil {
		k.log.Error("the verdicts of the rollout cannot be kept; what is not open stays held", "error", err)
	}
	if k.trouble = ""; err != nil {
		k.trouble = err.Error()
	}
	return err
}

func (k *Keeper) step(ctx context.Context) error {
	k.mu.RLock()
	rings, releases, kept := k.rings, k.releases, k.kept
	k.mu.RUnlock()
	if len(releases) == 0 {
		return nil
	}
	census, now, gated := k.count(), k.now(), rollout.Gated(rings)
	if census == nil {
		return nil // what is not known opens nothing, and undoes nothing
	}
	live := map[int64]*rollout.Verdict{}
	newest := slices.Max(slices.Collect(maps.Keys(releases)))
	var failed error
	for release, began := range releases {
		before := kept[release]
		if before == nil && !gated && release != newest {
			continue // nothing holds it
		}
		in := rollout.Input{Release: release, Began: began, Rings: rings, Hosts: census, Now: now}
		if before == nil {
			before = &verdict{}
		}
		next := rollout.Step(before.Verdict, in)
		live[release] = next
		if before.version == 0 && !gated || !worth(before.Verdict, next) {
			continue
		}
		if err := k.decide(ctx, before.version, next); err != nil && !errors.Is(err, inventory.ErrVerdictMoved) {
			failed = err
			break
		}
	}
	k.mu.Lock()
	k.live = live
	k.mu.Unlock()
	return errors.Join(failed, k.prune(ctx, newest))
}

// worth reports whether a verdict is another one than what is stored of it, but for what is counted.
func worth(before, next *rollout.Verdict) bool {
	closed := func(r rollout.Ring) bool { return r.Opened.IsZero() }
	return before == nil || !slices.Equal(essence(before), essence(next)) ||
		next.At.Sub(before.At) >= storedEvery && slices.ContainsFunc(next.Rings, closed)
}

func essence(v *rollout.Verdict) (s []string) {
	if v.Halt != nil {
		s = append(s, "halted", v.Halt.Text)
	}
	for _, r := range v.Rings {
		s = append(s, r.Name, r.State, r.NotBefore.String(), strconv.FormatBool(r.Opened.IsZero()),
			strconv.Itoa(r.Forgiven))
		if g := r.Gate; g != nil {
			s = append(s, strconv.FormatBool(g.Met), strconv.FormatBool(g.Promoted != nil))
		}
	}
	return s
}

// decide stores a verdict in the place of a version, and acts on it from then on.
func (k *Keeper) decide(ctx context.Context, before int64, v *rollout.Verdict) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	row := inventory.Verdict{Name: releasePart + strconv.FormatInt(v.Release, 10), Version: before + 1, Body: body}
	if err := k.store.Decide(ctx, row); err != nil {
		return err
	}
	k.mu.Lock()
	was := k.kept[v.Release]
	k.kept = maps.Clone(k.kept) // snapshots have the other
	k.kept[v.Release] = &verdict{row.Version, v}
	k.mu.Unlock()
	if v.Halt != nil && (was == nil || was.Halt == nil) {
		k.log.Warn("a release is halted", "release", v.Release, "why", v.Halt.Text)
	}
	for _, r := range v.Rings {
		if w := was.ring(r.Name); r.Gate != nil && !r.Opened.IsZero() && (w == nil || w.Opened.IsZero()) {
			k.log.Info("a ring is open", "release", v.Release, "ring", r.Name, "why", r.Gate.Text)
		}
	}
	return nil
}

func (v *verdict) ring(name string) *rollout.Ring {
	if v == nil {
		return nil
	}
	return v.Verdict.Ring(name)
}

// prune forgets old verdicts that are about nothing that a host is given. A server that is behind leaves those on what
// it does not know yet.
func (k *Keeper) prune(ctx context.Context, newest int64) error {
	k.mu.RLock()
	var past []int64
	for release := range k.kept {
		if _, given := k.releases[release]; !given && release < newest {
			past = append(past, release)
		}
	}
	k.mu.RUnlock()
	if len(past) <= keptPast {
		return nil
	}
	slices.Sort(past)
	var names []string
	for _, release := range past[:len(past)-keptPast] {
		names = append(names, releasePart+strconv.FormatInt(release, 10))
	}
	return k.store.Undecide(ctx, names...)
}

// snapshot is what holds hosts back, at one time.
type snapshot struct {
	rings []schema.Ring
	kept  map[int64]*verdict
	pause *rollout.Act
}

func (k *Keeper) snapshot() snapshot {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return snapshot{k.rings, k.kept, k.pause.Act}
}

func (s snapshot) held(ring string, release int64) *rollout.Hold {
	var v *rollout.Verdict
	if kept := s.kept[release]; kept != nil {
		v = kept.Verdict
	}
	return rollout.Held(s.rings, ring, release, v, s.pause)
}

// Held says why the hosts of a ring are held back from a release; nil: they are not.
func (k *Keeper) Held(ring string, release int64) *rollout.Hold {
	return k.snapshot().held(ring, release)
}

// Gates is Held, as it is now and stays, in the form of a table of hosts.
func (k *Keeper) Gates() func(ring string, release int64) hosts.Gate {
	s := k.snapshot()
	return func(ring string, release int64) hosts.Gate {
		if h := s.held(ring, release); h != nil {
			return hosts.Gate{Held: true, Code: h.Code, Why: h.Why, Since: h.Since}
		}
		if own := s.kept[release].ring(ring); own != nil && own.Gate != nil {
			return hosts.Gate{Since: own.Opened}
		}
		return hosts.Gate{}
	}
}

// Releases are the verdicts on what hosts are given, as they were at the last step, the newest first. They are not to
// be changed.
func (k *Keeper) Releases() (list []*rollout.Verdict, pause *rollout.Act) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	known := k.known()
	for _, release := range slices.Backward(slices.Sorted(maps.Keys(known))) {
		list = append(list, known[release])
	}
	return list, k.pause.Act
}

// Of is the verdict on a release, as it was at the last step, or as it is stored, and who paused all; nil: there is
// none.
func (k *Keeper) Of(release int64) (*rollout.Verdict, *rollout.Act) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	v := k.live[release]
	if v == nil && k.kept[release] != nil {
		v = k.kept[release].Verdict
	}
	return v, k.pause.Act
}

// known are the verdicts on what hosts are given or, where that is not known, those that are kept.
func (k *Keeper) known() map[int64]*rollout.Verdict {
	if len(k.live) > 0 {
		return k.live
	}
	known := map[int64]*rollout.Verdict{}
	for release, v := range k.kept {
		known[release] = v.Verdict
	}
	return known
}
