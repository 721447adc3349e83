package roots

import (
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Diff is what a root changes of the one before.
type Diff struct {
	From    int64      `json:"from"` // 0: nothing was before
	To      int64      `json:"to"`
	Roles   []RoleDiff `json:"roles"` // all of them, in order
	Expired time.Time  `json:"expired,omitzero"`
	Expires time.Time  `json:"expires"`
}

// RoleDiff is what a root changes of one role.
type RoleDiff struct {
	Role    string   `json:"role"`
	Added   []string `json:"added"` // names of keys, in order, or ids where no name is known
	Removed []string `json:"removed"`
	Kept    []string `json:"kept"`
	Was     int      `json:"was"` // threshold
	Is      int      `json:"is"`
}

// Changed reports whether the role has other keys or another threshold.
func (d *RoleDiff) Changed() bool { return len(d.Added)+len(d.Removed) > 0 || d.Was != d.Is }

// Changed reports whether any role changed; an expiry does not count.
func (d *Diff) Changed() bool {
	return slices.ContainsFunc(d.Roles, func(r RoleDiff) bool { return r.Changed() })
}

// diffRoots compares two roots; before may be nil.
func diffRoots(before, after *metadata.Metadata[metadata.RootType], name func(id string) string) *Diff {
	d := &Diff{To: after.Signed.Version, Expires: after.Signed.Expires}
	if before != nil {
		d.From, d.Expired = before.Signed.Version, before.Signed.Expires
	}
	for _, role := range roles {
		r := RoleDiff{Role: role, Added: []string{}, Removed: []string{}, Kept: []string{},
			Is: after.Signed.Roles[role].Threshold}
		var was []string
		if before != nil {
			was, r.Was = before.Signed.Roles[role].KeyIDs, before.Signed.Roles[role].Threshold
		}
		is := after.Signed.Roles[role].KeyIDs
		for _, id := range is {
			if slices.Contains(was, id) {
				r.Kept = append(r.Kept, name(id))
			} else {
				r.Added = append(r.Added, name(id))
			}
		}
		for _, id := range was {
			if !slices.Contains(is, id) {
				r.Removed = append(r.Removed, name(id))
			}
		}
		for _, list := range [][]string{r.Added, r.Removed, r.Kept} {
			slices.Sort(list)
		}
		d.Roles = append(d.Roles, r)
	}
	return d
}
