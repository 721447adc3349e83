package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/bits"
	"reflect"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Next is the state to publish. Of an assignment, Host, SHA256, Length, Manifest, Recipe, Site, Ring and Selected are
// read; release numbers, since and older candidates follow from what is published. Of the release, Commit, Tree, Tool
// and Bake are read; Schema, Fleet, Issued and Number are filled in.
type Next struct {
	Assignments []schema.Assignment
	Policy      schema.Policy
	Access      *schema.Access // nil: no access target
	Release     schema.Release
	Now         time.Time // zero: the time given to Published
}

// draft is the next state, before versions and signatures. It is derived without I/O.
type draft struct {
	now         time.Time
	first       bool // nothing is published
	changed     bool // in what hosts or servers are told
	number      int64
	assignments map[string][]schema.Assignment // by bin, hosts in order
	dirty       []string                       // bins that say something new
	delegations *metadata.Delegations
	content     map[string][]byte // of top-level targets, by name
	hosts       []string          // with a new package
	removed     []string
}

// follow is what a host is given after prev (nil: nothing). The same digest keeps its release and since. A new one, even
// one that the host had before, gets the new number, and prev becomes the first older candidate.
func follow(prev *schema.Assignment, want schema.Assignment, number int64, now time.Time) (a schema.Assignment, anew bool) {
	a = want
	if prev != nil && prev.SHA256 == want.SHA256 {
		a.Release, a.Since, a.Older = prev.Release, prev.Since, prev.Older
		return a, false
	}
	a.Release, a.Since, a.Older = number, now, nil
	if prev != nil {
		for _, c := range prev.Candidates() {
			// A digest that comes back is a candidate once, under its new number.
			if c.SHA256 != a.SHA256 && len(a.Older) < schema.MaxOlder {
				a.Older = append(a.Older, c)
			}
		}
	}
	return a, true
}

// clock is the time at which the next state is made: now, unless what is published was issued a little later.
func (s *State) clock(now time.Time) (time.Time, error) {
	if s.policy != nil && now.Before(s.policy.Issued) {
		if s.policy.Issued.Sub(now) > time.Hour {
			return now, fault.Hint(fmt.Errorf("this machine's clock says %s, but the published state was issued at %s",
				now.Format(time.RFC3339), s.policy.Issued.Format(time.RFC3339)), "set the clock")
		}
		now = s.policy.Issued
	}
	return now, nil
}

func (s *State) draft(next Next) (*draft, error) {
	d := &draft{now: s.now, first: s.head == 0, number: s.number + 1, assignments: map[string][]schema.Assignment{}}
	if !next.Now.IsZero() {
		d.now = wholeSeconds(next.Now)
	}
	var err error
	if d.now, err = s.clock(d.now); err != nil {
		return nil, err
	}
	d.delegations = s.delegations()
	if err := d.assign(s, next.Assignments); err != nil {
		return nil, err
	}
	if len(d.hosts) == 0 && s.above == 0 {
		d.number = max(s.number, 1)
	}
	return d, d.targets(s, next)
}

// delegations give the bins to the keys of targets.
func (s *State) delegations() *metadata.Delegations {
	role := s.root.Signed.Roles[metadata.TARGETS]
	keys := map[string]*metadata.Key{}
	for _, id := range role.KeyIDs {
		keys[id] = s.root.Signed.Keys[id]
	}
	return &metadata.Delegations{Keys: keys, SuccinctRoles: &metadata.SuccinctRoles{
		KeyIDs: role.KeyIDs, Threshold: role.Threshold,
		BitLength: bits.Len(uint(s.info.Bins - 1)), NamePrefix: schema.BinPrefix}}
}

func (d *draft) assign(s *State, want []schema.Assignment) error {
	byHost := map[string]schema.Assignment{}
	for _, w := range want {
		if _, ok := byHost[w.Host]; ok {
			return fmt.Errorf("host %s stands twice in the state to publish", w.Host)
		}
		a, anew := follow(s.assignments[w.Host], w, d.number, d.now)
		if s.above > 0 {
			// The host may have been given something later that is lost, and takes nothing of a lower number.
			a.Release = d.number
		}
		if err := a.Validate(); err != nil {
			return err
		}
		byHost[w.Host] = a
		if anew {
			d.hosts = append(d.hosts, w.Host)
		}
	}
	dirty := map[string]bool{}
	for _, host := range slices.Sorted(maps.Keys(byHost)) {
		a, bin := byHost[host], d.bin(host)
		d.assignments[bin] = append(d.assignments[bin], a)
		if prev := s.assignments[host]; prev == nil || !reflect.DeepEqual(*prev, a) {
			dirty[bin] = true
		}
	}
	for host := range s.assignments {
		if _, ok := byHost[host]; !ok {
			dirty[d.bin(host)] = true
			d.removed = append(d.removed, host)
		}
	}
	// Also what stands in a bin but was not carried forward, because its keys were dropped.
	for name, md := range s.bins {
		if len(md.Signed.Targets) != len(d.assignments[name]) {
			dirty[name] = true
		}
	}
	slices.Sort(d.hosts)
	slices.Sort(d.removed)
	d.dirty = slices.Sorted(maps.Keys(dirty))
	d.changed = len(dirty) > 0
	return nil
}

func (d *draft) bin(host string) string {
	return d.delegations.SuccinctRoles.GetRolesForTarget(schema.PackageTarget(host))[0].Name
}

// targets settles the top-level targets. The issue time moves with any change and with nothing else, and a commit that
// changes nothing for any host or server is no change.
func (d *draft) targets(s *State, next Next) error {
	policy := next.Policy
	policy.Schema, policy.Fleet = schema.PolicySchema, s.fleet.Name
	access := next.Access
	if access != nil {
		a := *access
		a.Schema, access = accessSchema, &a
	}
	if s.policy != nil {
		policy.Issued = s.policy.Issued
	}
	d.changed = d.changed || d.first || s.policy == nil || !sameJSON(s.policy, policy) || !sameJSON(s.access, access) ||
		s.targets == nil || !sameJSON(s.targets.Signed.Delegations, d.delegations)
	release := s.release
	if d.changed {
		policy.Issued = d.now
		r := next.Release
		r.Schema, r.Number, r.Issued = releaseSchema, d.number, d.now
		release = &r
	}
	d.content = map[string][]byte{}
	for name, v := range map[string]any{schema.PolicyTarget: policy, schema.ReleaseTarget: release, schema.AccessTarget: access} {
		if name == schema.AccessTarget && access == nil {
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		d.content[name] = b
	}
	return nil
}

const (
	accessSchema  = 1
	releaseSchema = 1
)

func sameJSON(a, b any) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// binTargets is the content of a bin.
func binTargets(as []schema.Assignment) (map[string]*metadata.TargetFiles, error) {
	ts := map[string]*metadata.TargetFiles{}
	for _, a := range as {
		b, err := json.Marshal(a.Target)
		if err != nil {
			return nil, err
		}
		ts[schema.PackageTarget(a.Host)] = &metadata.TargetFiles{Length: a.Length,
			Hashes: metadata.Hashes{"sha256": a.SHA256[:]}, Custom: (*json.RawMessage)(&b)}
	}
	return ts, nil
}
