package roots

import (
	"fmt"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// Info is what a root says.
type Info struct {
	Version  int64         `json:"version"`
	Fleet    string        `json:"fleet"`
	Bins     int           `json:"bins"`
	Expires  time.Time     `json:"expires"`
	Digest   schema.Digest `json:"digest"`
	Anchor   bool          `json:"anchor"`
	Complete bool          `json:"complete"`
	Roles    []RoleInfo    `json:"roles"`
	Changes  *Diff         `json:"changes"` // against the root before
}

// RoleInfo says who may sign a role.
type RoleInfo struct {
	Role      string   `json:"role"`
	Threshold int      `json:"threshold"`
	Keys      []string `json:"keys"` // names, or the start of ids that have none
}

// Select picks the roots that are asked for: all if there is no arg, or the one that it names.
func (c *Chain) Select(arg string) ([]*Root, error) {
	if len(c.roots) == 0 {
		return nil, errNoRoot()
	}
	if arg == "" {
		return c.roots, nil
	}
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 || n > len(c.roots) {
		return nil, fault.Hint(fmt.Errorf("unknown root %.20q", arg), "trust/ has roots 1 to %d", len(c.roots))
	}
	return c.roots[n-1 : n], nil
}

// Info describes one of the chain's roots; f says which is the anchor.
func (c *Chain) Info(r *Root, f *fleet.Fleet) Info {
	info := Info{Version: r.md.Signed.Version, Fleet: r.info.Fleet, Bins: r.info.Bins, Expires: r.md.Signed.Expires,
		Digest: r.Digest(), Anchor: r.Version == f.AnchorVersion, Complete: r.Complete()}
	for _, role := range roles {
		ri := RoleInfo{Role: role, Threshold: r.md.Signed.Roles[role].Threshold}
		for _, id := range r.md.Signed.Roles[role].KeyIDs {
			ri.Keys = append(ri.Keys, c.name(id))
		}
		info.Roles = append(info.Roles, ri)
	}
	var before *metadata.Metadata[metadata.RootType]
	if r.Version > 1 {
		before = c.roots[r.Version-2].md
	}
	info.Changes = diffRoots(before, r.md, c.name)
	return info
}

// SigningStatus is how far a root has been signed.
type SigningStatus struct {
	Version  int      `json:"version"`
	Complete bool     `json:"complete"`
	Problem  string   `json:"problem,omitempty"` // what does not verify
	By       []Quorum `json:"by"`
}

// Status says who has signed one of the chain's roots.
func (c *Chain) Status(r *Root) SigningStatus {
	s := SigningStatus{Version: r.Version, Complete: r.Complete(), By: []Quorum{}}
	if r.fault != nil {
		s.Problem = r.fault.Error()
	}
	for _, q := range r.quorums {
		s.By = append(s.By, q.named(c.name))
	}
	return s
}

// Trust says who may sign which role according to the n-th of f's roots, such as "2 of alice, bob", by role; nil if
// there is none that can be read.
func Trust(f *fleet.Fleet, n int) map[string]string {
	c, err := Read(f)
	if err != nil || n < 1 || n > len(c.roots) {
		return nil
	}
	may := map[string]string{}
	for _, role := range roles {
		r := c.roots[n-1].md.Signed.Roles[role]
		may[role] = fmt.Sprintf("%d of %s", r.Threshold, c.list(r.KeyIDs))
	}
	return may
}
