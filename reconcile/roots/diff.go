package roots

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/schema/fleet"
)

// Diff is what a root changes of the one before.
type Diff struct {
	From    int64      `json:"from"` // 0: nothing was before
	To      int64      `json:"to"`
	Roles   []roleDiff `json:"roles"` // all of them, in order
	Expired time.Time  `json:"expired,omitzero"`
	Expires time.Time  `json:"expires"`
}

type roleDiff struct {
	Role    string   `json:"role"`
	Added   []string `json:"added"` // names of keys, in order, or ids where no name is known
	Removed []string `json:"removed"`
	Kept    []string `json:"kept"`
	Was     int      `json:"was"` // threshold
	Is      int      `json:"is"`
}

func (d *roleDiff) changed() bool { return len(d.Added)+len(d.Removed) > 0 || d.Was != d.Is }

func (d *Diff) changed() bool {
	return slices.ContainsFunc(d.Roles, func(r roleDiff) bool { return r.changed() })
}

// diffRoots compares two roots; before may be nil.
func diffRoots(before, after *metadata.Metadata[metadata.RootType], name func(id string) string) *Diff {
	d := &Diff{To: after.Signed.Version, Expires: after.Signed.Expires}
	if before != nil {
		d.From, d.Expired = before.Signed.Version, before.Signed.Expires
	}
	for _, role := range roles {
		r := roleDiff{Role: role, Added: []string{}, Removed: []string{}, Kept: []string{}, Is: after.Signed.Roles[role].Threshold}
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

// tell prints the difference for people: a line per role, with + and - before keys.
func (d *Diff) tell(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if d.From > 0 {
		fmt.Fprintf(w, "root %d after root %d\n", d.To, d.From)
	} else {
		fmt.Fprintf(w, "root %d, the first\n", d.To)
	}
	for _, r := range d.Roles {
		var parts []string
		for _, name := range r.Added {
			parts = append(parts, "+ "+name)
		}
		for _, name := range r.Removed {
			parts = append(parts, "- "+name)
		}
		parts = append(parts, r.Kept...)
		threshold := fmt.Sprintf("%d of %d", r.Is, len(r.Added)+len(r.Kept))
		if r.Was != r.Is && r.Was > 0 {
			threshold = fmt.Sprintf("%s (was %d of %d)", threshold, r.Was, len(r.Removed)+len(r.Kept))
		}
		mark := " "
		if r.changed() {
			mark = "*"
		}
		fmt.Fprintf(w, "%s %s\t%s\t%s\n", mark, r.Role, threshold, strings.Join(parts, ", "))
	}
	expires := d.Expires.UTC().Format(time.DateOnly)
	if d.From > 0 {
		fmt.Fprintf(w, "  expires\t%s\twas %s\n", expires, d.Expired.UTC().Format(time.DateOnly))
	} else {
		fmt.Fprintf(w, "  expires\t%s\n", expires)
	}
	return w.Flush()
}

// Trust says who may sign which role according to the n-th of f's roots, such as "2 of alice, bob", by role; nil if there is
// none that can be read.
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
