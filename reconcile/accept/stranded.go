package accept

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// unmet is a package whose updater finds too few of the keys that sign the next one.
type unmet struct {
	when string        // plan.StrandedNow, …
	pkg  schema.Digest // zero: a commit's, which may never have been made
	by   *Rule
}

// search looks for the hosts that the keys of a state cannot reach.
type search struct {
	after *desired.State
	left  map[string]bool // public halves that sign packages
	found map[string][]unmet
}

func newSearch(after *desired.State, now time.Time) (*search, error) {
	s := &search{after, signing(after.Fleet, now), map[string][]unmet{}}
	return s, s.wanted(after, plan.StrandedNext)
}

// wanted looks at what a state gives.
func (s *search) wanted(of *desired.State, when string) error {
	known := reader{}
	for name, h := range of.Resolved.Hosts {
		by, err := known.of(h.Recipe)
		if err != nil {
			return fmt.Errorf("host %s: %w", name, err)
		}
		s.note(name, unmet{when: when, by: by})
	}
	return nil
}

// signing are the public halves of a fleet's keys that may sign packages at that time, on whichever machine they are.
func signing(f *fleet.Fleet, now time.Time) map[string]bool {
	left := map[string]bool{}
	for _, k := range f.Keys {
		if k.Has(fleet.UsePackage) && !now.Before(k.NotBefore) && (k.Expires.IsZero() || now.Before(k.Expires)) {
			left[k.Public] = true
		}
	}
	return left
}

func (s *search) note(host string, u unmet) {
	if !u.by.By(s.left) {
		s.found[host] = append(s.found[host], u)
	}
}

// published looks at what a release gives; older candidates too, if hosts may not have installed their newest.
func (s *search) published(ctx context.Context, release *publish.State, accepted *Finder, older bool) error {
	for a := range release.InOrder() {
		for i, c := range a.Candidates() {
			if i > 0 && !older {
				break
			}
			by, err := accepted.Of(ctx, c)
			if err != nil {
				return err
			}
			u := unmet{plan.StrandedNow, c.SHA256, by}
			if i > 0 {
				u.when = plan.StrandedPerhaps
			}
			s.note(a.Host, u)
		}
	}
	return nil
}

// Since lists the hosts that would refuse what after makes of the packages of a commit before, which may be nil.
func Since(before, after *desired.State, now time.Time) ([]plan.Stranded, error) {
	s, err := newSearch(after, now)
	if err == nil && before != nil {
		err = s.wanted(before, plan.StrandedNow)
	}
	if err != nil {
		return nil, err
	}
	return s.grouped(now), nil
}

// Beside lists the hosts that would refuse what after makes of a release. before is its commit, nil if the repository
// does not have it. Packages before the newest count only if a key that signed them does not sign any more: that hosts
// have no such package any more is for their owner to know, and need not be said in every plan.
func Beside(
	ctx context.Context, st store.Store, release *publish.State, before, after *desired.State, now time.Time,
) ([]plan.Stranded, error) {
	s, err := newSearch(after, now)
	if err != nil {
		return nil, err
	}
	if err := s.published(ctx, release, NewFinder(st, before, after), before == nil || s.ended(before)); err != nil {
		return nil, err
	}
	return s.grouped(now), nil
}

// ended reports whether a key that signed packages before does not any more.
func (s *search) ended(before *desired.State) bool {
	for _, k := range before.Fleet.Keys {
		if k.Has(fleet.UsePackage) && !s.left[k.Public] {
			return true
		}
	}
	return false
}

// Settled reports, without an evaluation of the commit before, that no package from then can refuse what after makes:
// keys/ is as it was, and every key in it signs.
func Settled(before fs.FS, after *desired.State, now time.Time) (bool, error) {
	if (&search{left: signing(after.Fleet, now)}).ended(after) {
		return false, nil
	}
	was, err := fs.ReadDir(before, "keys")
	if err != nil {
		return false, nil
	}
	is, err := fs.ReadDir(after.Files, "keys")
	if err != nil || len(is) != len(was) {
		return false, err
	}
	for i, e := range was {
		name := path.Join("keys", e.Name())
		if is[i].Name() != e.Name() {
			return false, nil
		}
		x, err := fs.ReadFile(before, name)
		if err != nil {
			return false, err
		}
		y, err := fs.ReadFile(after.Files, name)
		if err != nil || !bytes.Equal(x, y) {
			return false, err
		}
	}
	return true, nil
}

// grouped puts hosts together that are stranded alike. A host is in one group: that of the first reason, in the order
// of the constants.
func (s *search) grouped(now time.Time) []plan.Stranded {
	order := []string{plan.StrandedNow, plan.StrandedNext, plan.StrandedPerhaps}
	rank := func(u unmet) int { return slices.Index(order, u.when) }
	groups := map[string]*plan.Stranded{}
	for _, host := range slices.Sorted(maps.Keys(s.found)) {
		if s.after.Resolved.Hosts[host] == nil {
			continue // it is to get nothing
		}
		u := slices.MinFunc(s.found[host], func(x, y unmet) int { return cmp.Compare(rank(x), rank(y)) })
		key := u.when + u.by.String()
		if groups[key] == nil {
			why, hint := s.explain(u.by, now)
			groups[key] = &plan.Stranded{When: u.when, Accepts: u.by.String(), Why: why, Hint: hint}
		}
		groups[key].Hosts = append(groups[key].Hosts, host)
	}
	var out []plan.Stranded
	for _, g := range groups {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(x, y plan.Stranded) int {
		return cmp.Or(cmp.Compare(rank(unmet{when: x.When}), rank(unmet{when: y.When})),
			cmp.Compare(x.Accepts, y.Accepts))
	})
	return out
}

// explain says which of a rule's keys do not sign, and what makes them.
func (s *search) explain(by *Rule, now time.Time) (why, hint string) {
	var reasons, todo []string
	for _, accepted := range by.keys {
		if s.left[accepted.Public] {
			continue
		}
		var k *fleet.Key
		for _, other := range s.after.Fleet.Keys {
			if other.Public == accepted.Public {
				k = other
			}
		}
		name := accepted.Name
		switch {
		case k == nil:
			reasons = append(reasons, fmt.Sprintf("key %s is in keys/ no more", name))
			todo = append(todo, fmt.Sprintf("restore keys/%s.cue from git", name))
		case !k.Retired.IsZero():
			reasons = append(reasons, fmt.Sprintf("key %s is retired", name))
			todo = append(todo, fmt.Sprintf("take `retired` out of %s", k.Pos.File))
		case now.Before(k.NotBefore):
			reasons = append(reasons, fmt.Sprintf("key %s is not valid yet", name))
			todo = append(todo, fmt.Sprintf("wait until %s", k.NotBefore.UTC().Format(time.DateOnly)))
		case !k.Has(fleet.UsePackage):
			reasons = append(reasons, fmt.Sprintf("key %s has no use \"package\" any more", name))
			todo = append(todo, fmt.Sprintf("give it that use again in %s", k.Pos.File))
		default:
			reasons = append(reasons, fmt.Sprintf("key %s has expired", name))
			todo = append(todo, fmt.Sprintf("set a later `expires` in %s", k.Pos.File))
		}
	}
	if len(reasons) == 0 {
		return "too few keys sign", ""
	}
	return strings.Join(reasons, ", "), "let it sign beside the others: " + strings.Join(todo, ", ") +
		"; end it with `bakehouse key retire` once hosts have installed a package that accepts another key"
}

// reader reads rules from recipes, most of which share one of a few configurations.
type reader map[*fleet.Output]*Rule

func (r reader) of(recipe *rules.Recipe) (*Rule, error) {
	o := updater(recipe)
	if o == nil {
		return nil, nil
	}
	by, ok := r[o]
	if !ok {
		var err error
		if by, err = ofOutput(o); err != nil {
			return nil, err
		}
		r[o] = by
	}
	return by, nil
}
