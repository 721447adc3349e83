package trust

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/quorum"
	"bakehouse/schema"
)

// marks is what must not be forgotten: the highest versions seen and the newest signed time.
//
// Each mark names the keys whose signatures it rests on. It holds as long as those keys alone would still reach the
// role's threshold; once a root removes one of them, what it said no longer counts. That is the recovery of the
// specification's 5.3.11: whoever stole an online key could have signed version 2^63-1 or the year 9999, and hosts
// that saw it come back with the root that drops the key.
type marks struct {
	Serial int64           `json:"serial"` // of the write, to tell the newer of two copies
	Roots  []rootSeen      `json:"roots"`  // every root of the verified chain, in order
	Roles  map[string]mark `json:"roles"`
	Issued *mark           `json:"issued,omitempty"` // clock floor

	dirty bool
}

type mark struct {
	Version int64            `json:"version,omitempty"`
	Time    time.Time        `json:"time,omitzero"`
	Signers []string         `json:"signers"`        // key ids whose signatures were valid
	Meta    map[string]int64 `json:"meta,omitempty"` // what timestamp and snapshot list: versions by file name; of a fleet those above 1
}

// rootSeen is a root that was verified. Files are the digests of the bytes it came in: a signature more makes other bytes
// of the same root.
type rootSeen struct {
	Version int64           `json:"version"`
	Signed  schema.Digest   `json:"signed"`
	Files   []schema.Digest `json:"files"`
}

// holds reports whether m still counts under the keys that a role has now.
func (m *mark) holds(a quorum.Quorum) bool {
	n := 0
	for _, s := range m.Signers {
		if slices.Contains(a.IDs, s) {
			n++
		}
	}
	return n >= max(a.Threshold, 1)
}

// seen is the highest version of a role that still counts, 0 if none.
func (m *marks) seen(role string, a quorum.Quorum) int64 {
	if k, ok := m.Roles[role]; ok && k.holds(a) {
		return k.Version
	}
	return 0
}

// below refuses a version under the mark.
func (m *marks) below(role string, version int64, a quorum.Quorum) error {
	if seen := m.seen(role, a); version < seen {
		return rollback(role, version, seen)
	}
	return nil
}

// raise remembers that a accepted this version of the role, as these of its keys signed it. meta is what timestamp and
// snapshot list.
func (m *marks) raise(role string, version int64, a quorum.Quorum, signers func() []string, meta map[string]int64) {
	if m.seen(role, a) >= version {
		return
	}
	k := mark{Version: version, Signers: signers(), Meta: meta}
	if m.Roles == nil {
		m.Roles = map[string]mark{}
	}
	m.Roles[role] = k
	m.dirty = true
}

// metaBelow refuses a timestamp or snapshot that lists any file in a lower version than the last one, or no longer
// (5.4.3, 5.5.5).
func (m *marks) metaBelow(role string, a quorum.Quorum, meta map[string]*metadata.MetaFiles) error {
	k, ok := m.Roles[role]
	if !ok || !k.holds(a) {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(k.Meta)) {
		var got int64
		if f := meta[name]; f != nil {
			got = f.Version
		}
		if got < k.Meta[name] {
			return rollback(name+" in "+role, got, k.Meta[name])
		}
	}
	return nil
}

// forgetListed drops what timestamps said of the snapshot: its key was rotated (5.3.11).
func (m *marks) forgetListed() {
	if k, ok := m.Roles[metadata.TIMESTAMP]; ok && k.Meta != nil {
		k.Meta = nil
		m.Roles[metadata.TIMESTAMP] = k
		m.dirty = true
	}
}

// floor is the earliest time that may be believed.
func (m *marks) floor(a quorum.Quorum) time.Time {
	if m.Issued != nil && m.Issued.holds(a) {
		return m.Issued.Time
	}
	return time.Time{}
}

func (m *marks) raiseFloor(t time.Time, a quorum.Quorum, targets any) {
	if t.After(m.floor(a)) {
		m.Issued = &mark{Time: t.UTC(), Signers: a.Signers(targets)}
		m.dirty = true
	}
}

// root returns the chain's entry of that version, nil if it is not known.
func (m *marks) root(version int64) *rootSeen {
	for i := range m.Roots {
		if m.Roots[i].Version == version {
			return &m.Roots[i]
		}
	}
	return nil
}

// lastRoot is the highest root version of the chain.
func (m *marks) lastRoot() int64 {
	var v int64
	for _, r := range m.Roots {
		v = max(v, r.Version)
	}
	return v
}

func (m *marks) addRoot(version int64, signed, file schema.Digest) {
	r := m.root(version)
	switch {
	case r == nil:
		m.Roots = append(m.Roots, rootSeen{version, signed, []schema.Digest{file}})
		// By sort, which makes no code of its own for each type: the host program's size is a promise.
		sort.Slice(m.Roots, func(i, j int) bool { return m.Roots[i].Version < m.Roots[j].Version })
	case r.Signed != signed:
		*r = rootSeen{version, signed, []schema.Digest{file}}
	case !slices.Contains(r.Files, file):
		r.Files = append(r.Files, file)
	default:
		return
	}
	m.dirty = true
}

func (m *marks) hasRoot(file schema.Digest) bool {
	return slices.ContainsFunc(m.Roots, func(r rootSeen) bool { return slices.Contains(r.Files, file) })
}

// sealed is the file form: a flipped bit in a version must not pass for a version.
type sealed struct {
	Sum   schema.Digest   `json:"sum"`
	Marks json.RawMessage `json:"marks"`
}

func (m *marks) encode() ([]byte, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed{schema.DigestOf(b), b})
}

func decodeMarks(b []byte) (*marks, error) {
	var s sealed
	if err := schema.Decode(b, &s); err != nil {
		return nil, err
	}
	if schema.DigestOf(s.Marks) != s.Sum {
		return nil, fmt.Errorf("marks are damaged")
	}
	m := &marks{}
	return m, json.Unmarshal(s.Marks, m)
}
