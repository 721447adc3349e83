package roots

import (
	"fmt"
	"slices"
	"strings"
)

// quorum is keys of which so many have to sign a root: those of the root before, and its own.
type quorum struct {
	by        []int // versions of the roots whose keys these are
	threshold int
	signed    []string // key ids, in order
	lacking   []string
}

func (q *quorum) met() bool { return len(q.signed) >= q.threshold }

// same reports whether the keys and their threshold are those of other.
func (q *quorum) same(other *quorum) bool {
	return q.threshold == other.threshold && slices.Equal(q.all(), other.all())
}

func (q *quorum) all() []string {
	return slices.Sorted(slices.Values(slices.Concat(q.signed, q.lacking)))
}

// named is the quorum for people; name is what they call the key of an id.
func (q *quorum) named(name func(id string) string) Quorum {
	names := func(ids []string) []string {
		out := []string{}
		for _, id := range ids {
			out = append(out, name(id))
		}
		slices.Sort(out)
		return out
	}
	return Quorum{q.by, q.threshold, names(q.signed), names(q.lacking)}
}

// Quorum is how far the keys of one root have signed another, by the names of keys.
type Quorum struct {
	Roots     []int    `json:"roots"` // whose keys these are: one root, or two that have the same
	Threshold int      `json:"threshold"`
	Signed    []string `json:"signed"`
	Lacking   []string `json:"lacking"`
}

// Met reports whether enough of the keys have signed.
func (q Quorum) Met() bool { return len(q.Signed) >= q.Threshold }

// Keys says whose keys they are.
func (q Quorum) Keys() string {
	if len(q.Roots) == 2 {
		return fmt.Sprintf("keys of roots %d and %d", q.Roots[0], q.Roots[1])
	}
	return fmt.Sprintf("keys of root %d", q.Roots[0])
}

func (q Quorum) String() string {
	signatures := "signatures"
	if q.Threshold == 1 {
		signatures = "signature"
	}
	return fmt.Sprintf("by the %s: %d of %d %s, still to sign: %s",
		q.Keys(), len(q.Signed), q.Threshold, signatures, strings.Join(q.Lacking, ", "))
}
