package schema

import (
	"maps"
	"slices"
)

// Retirement says after what time without a word from a host a server may retire its registration. It is in Access
// and not in the hosts' targets: hosts have no use for it, and it would move all of their bins. What most hosts have
// is said once, so that a hundred thousand hosts with one rule are one line.
type Retirement struct {
	Default Duration              `json:"default"`         // of a host that is not in Hosts; 0: never
	Hosts   map[Duration][]string `json:"hosts,omitempty"` // in order, by what they have instead
}

// NewRetirement is that of a fleet, from what each host has; nil if no host is ever retired.
func NewRetirement(after map[string]Duration) *Retirement {
	by := map[Duration][]string{}
	for _, host := range slices.Sorted(maps.Keys(after)) {
		by[after[host]] = append(by[after[host]], host)
	}
	r := &Retirement{}
	for _, d := range slices.Sorted(maps.Keys(by)) {
		if len(by[d]) > len(by[r.Default]) {
			r.Default = d
		}
	}
	if delete(by, r.Default); len(by) > 0 {
		r.Hosts = by
	}
	if r.Default == 0 && r.Hosts == nil {
		return nil
	}
	return r
}

// After is for how long a server may not have heard of the host before it retires the registration; 0: for ever.
func (r *Retirement) After(host string) Duration {
	if r == nil {
		return 0
	}
	for d, hosts := range r.Hosts {
		if _, ok := slices.BinarySearch(hosts, host); ok {
			return d
		}
	}
	return r.Default
}
