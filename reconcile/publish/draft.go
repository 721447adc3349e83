package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Wanted is the state to publish, as a commit wants it. Of an assignment, Host, SHA256, Length, Manifest, Recipe,
// Site, Ring and Selected are read; release numbers, since and older candidates follow from what is published. Of the
// release, Commit, Tree, Tool and Bake are read; Schema, Issued and Number are filled in.
type Wanted struct {
	Assignments []schema.Assignment
	Policy      schema.Policy
	Access      *schema.Access // nil: no access target
	About       *schema.About  // its Plan is filled in; nil: no such target
	Release     schema.Release
}

// Previous is all that a draft follows from, besides what is wanted.
type Previous struct {
	Fleet    string
	BinRoles *metadata.Delegations // of the bins to the keys for targets, by the newest root

	// What is published. Of a store without a release all is zero.

	Number      int64                         // of the newest release
	Assignments map[string]*schema.Assignment // by host; without those whose keys the newest root dropped
	Policy      *schema.Policy                // nil if there is none, or it is not believed any more; likewise:
	Release     *schema.Release
	Access      *schema.Access
	About       *schema.About
	Delegations *metadata.Delegations // in targets; nil if nothing is published
	InBins      map[string]int        // how many hosts each bin has, by its name

	// MinVersion is not 0 after the store was restored from a backup: every release number is to be new.
	MinVersion int64
}

// Draft is the next state, before versions, expiries and signatures. It is derived from Previous, Wanted and a time
// alone, so that whoever has these three gets the same bytes.
type Draft struct {
	Time    time.Time // when it is made, in whole seconds: as given, or the time of what is published if that is later
	Changed bool      // in what hosts or servers are given
	Number  int64     // of the newest release
	Hosts   []string  // with a new package, in order
	Removed []string  // hosts that are no longer there, in order
	Dirty   []string  // bins that say something new, in order

	Targets     map[string][]byte // content of top-level targets, by name
	Delegations *metadata.Delegations

	layout      bins.Layout
	assignments [][]*schema.Assignment // by number of the bin, hosts in order; those that stay are Previous'
	plan        schema.AboutPlan
}

const (
	accessSchema  = 1
	releaseSchema = 1
)

// NewDraft derives the next state. It reads no clock, and neither files nor keys, and changes nothing that it is
// given. The error is a host that is wanted twice, an invalid assignment, or a time that is far before that of what
// is published.
func NewDraft(prev Previous, want Wanted, issued time.Time) (*Draft, error) {
	issued, err := notBefore(prev.Policy, wholeSeconds(issued))
	if err != nil {
		return nil, err
	}
	d := &Draft{Time: issued, Number: prev.Number + 1, Delegations: prev.BinRoles}
	if err := d.assign(prev, want.Assignments); err != nil {
		return nil, err
	}
	if len(d.Hosts) == 0 && prev.MinVersion == 0 {
		d.Number = max(prev.Number, 1)
	}
	return d, d.targets(prev, want)
}

// wholeSeconds is t as TUF metadata have it.
func wholeSeconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// notBefore is now, unless what is published was issued a little later: clocks differ.
func notBefore(published *schema.Policy, now time.Time) (time.Time, error) {
	if published == nil || !now.Before(published.Issued) {
		return now, nil
	}
	if published.Issued.Sub(now) > time.Hour {
		return now, fault.Hint(fmt.Errorf("this machine's clock says %s, but the published state was issued at %s",
			now.Format(time.RFC3339), published.Issued.Format(time.RFC3339)), "set the clock")
	}
	return published.Issued, nil
}

// follow is what a host is given after prev (nil: nothing). The same digest keeps its release and since. A new one,
// even one that the host had before, gets the new number, and prev becomes the first older candidate. If a recipe
// comes back, the commit took back what was given after it: none of that stays a candidate, or a host that waits for
// the end of a delay would be given it first.
func follow(
	prev *schema.Assignment, want schema.Assignment, number int64, now time.Time,
) (a schema.Assignment, changed bool) {
	a = want
	if prev != nil && prev.SHA256 == want.SHA256 {
		a.Release, a.Since, a.Older = prev.Release, prev.Since, prev.Older
		return a, false
	}
	a.Release, a.Since, a.Older = number, now, nil
	if prev != nil {
		before := prev.Candidates()
		if i := slices.IndexFunc(before, func(c schema.Candidate) bool { return c.Recipe == a.Recipe }); i >= 0 {
			before = before[i:]
		}
		for _, c := range before {
			// A digest that comes back is a candidate once, under its new number.
			if c.SHA256 != a.SHA256 && len(a.Older) < schema.MaxOlder {
				a.Older = append(a.Older, c)
			}
		}
	}
	return a, true
}

// before is what a host was given, nil if nothing. Under a new name it goes on from what it was given under its former
// one.
func before(prev Previous, want *schema.Assignment) *schema.Assignment {
	for _, name := range append([]string{want.Host}, want.Was...) {
		if was := prev.Assignments[name]; was != nil {
			return was
		}
	}
	return nil
}

func (d *Draft) assign(prev Previous, want []schema.Assignment) error {
	d.layout = bins.LayoutOf(d.Delegations.SuccinctRoles)
	names := d.layout.Names()
	d.assignments = make([][]*schema.Assignment, len(names))
	dirty := make([]bool, len(names))
	kept := 0 // of the hosts before
	for _, w := range inOrder(want) {
		was := prev.Assignments[w.Host]
		a, changed := follow(before(prev, w), *w, d.Number, d.Time)
		if prev.MinVersion > 0 {
			// The host may have been given something later that is lost, and rejects any lower number.
			a.Release = d.Number
		}
		if err := a.Validate(); err != nil {
			return err
		}
		if changed {
			d.Hosts = append(d.Hosts, w.Host)
		}
		bin := d.layout.Number(w.Host)
		if n := len(d.assignments[bin]); n > 0 && d.assignments[bin][n-1].Host == w.Host {
			return fmt.Errorf("host %s is in the state to publish twice", w.Host)
		}
		if was != nil {
			kept++
		}
		if was == nil || !was.Equal(&a) {
			dirty[bin] = true
			d.count(was, &a)
			was = new(a)
		}
		d.assignments[bin] = append(d.assignments[bin], was)
	}
	d.plan.Hosts = len(want)
	if kept < len(prev.Assignments) {
		d.remove(prev, dirty)
	}
	for i, name := range names {
		// Also what is in a bin but was not carried forward, because its keys were dropped.
		if dirty[i] || prev.InBins[name] != len(d.assignments[i]) {
			d.Dirty = append(d.Dirty, name)
		}
	}
	d.Changed = len(d.Dirty) > 0
	return nil
}

// remove notes the hosts that are no longer wanted.
func (d *Draft) remove(prev Previous, dirty []bool) {
	wanted := map[string]bool{}
	for _, as := range d.assignments {
		for _, a := range as {
			wanted[a.Host] = true
		}
	}
	for host := range prev.Assignments {
		if !wanted[host] {
			dirty[d.layout.Number(host)] = true
			d.Removed = append(d.Removed, host)
		}
	}
	slices.Sort(d.Removed)
	d.plan.Removed = len(d.Removed)
}

// count adds a host that is given another thing than before; was is nil if it was given nothing.
func (d *Draft) count(was, a *schema.Assignment) {
	switch {
	case was == nil:
		d.plan.Added++
	case was.SHA256 != a.SHA256:
		d.plan.Package++
	default:
		d.plan.Attributes++
	}
}

// inOrder is what is wanted in order of hosts, as it usually is.
func inOrder(want []schema.Assignment) []*schema.Assignment {
	all := make([]*schema.Assignment, len(want))
	for i := range want {
		all[i] = &want[i]
	}
	byHost := func(a, b *schema.Assignment) int { return strings.Compare(a.Host, b.Host) }
	if !slices.IsSortedFunc(all, byHost) {
		slices.SortFunc(all, byHost)
	}
	return all
}

// targets sets the top-level targets. The issue time moves with any change and with nothing else, and a commit that
// changes nothing for any host or server is no change.
func (d *Draft) targets(prev Previous, want Wanted) error {
	policy := want.Policy
	policy.Schema, policy.Fleet = schema.PolicySchema, prev.Fleet
	access := want.Access
	if access != nil {
		a := *access
		a.Schema, access = accessSchema, &a
	}
	if prev.Policy != nil {
		policy.Issued = prev.Policy.Issued
	}
	d.Changed = d.Changed || prev.Policy == nil || !sameJSON(prev.Policy, policy) || !sameJSON(prev.Access, access) ||
		prev.Delegations == nil || !sameJSON(prev.Delegations, d.Delegations)
	release, about := prev.Release, prev.About
	if d.Changed {
		policy.Issued = d.Time
		r := want.Release
		r.Schema, r.Number, r.Issued = releaseSchema, d.Number, d.Time
		release = &r
		if about = want.About; about != nil {
			a := *about
			a.Plan, about = d.plan, &a
		}
	}
	d.Targets = map[string][]byte{}
	all := map[string]any{schema.PolicyTarget: policy, schema.ReleaseTarget: release}
	if access != nil {
		all[schema.AccessTarget] = access
	}
	if about != nil {
		all[schema.AboutTarget] = about
	}
	for name, v := range all {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if len(b) > schema.MaxTarget {
			return fmt.Errorf("target %s: %d bytes, and at most %d are read", name, len(b), schema.MaxTarget)
		}
		d.Targets[name] = b
	}
	return nil
}

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// Signed is the signed part of a bin, under a version and expiry.
func (d *Draft) Signed(name string, version int64, expires time.Time) ([]byte, error) {
	number := slices.Index(d.layout.Names(), name)
	if number < 0 {
		return nil, fmt.Errorf("there is no bin %s", name)
	}
	return bins.Signed(name, version, expires, d.assignments[number])
}

// TopTargets is what the role targets says: the length and digest of each top-level target, by name.
func (d *Draft) TopTargets() map[string]*metadata.TargetFiles {
	targets := map[string]*metadata.TargetFiles{}
	for name, b := range d.Targets {
		digest := schema.DigestOf(b)
		targets[name] = &metadata.TargetFiles{Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": digest[:]}}
	}
	return targets
}
