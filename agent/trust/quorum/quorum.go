// Package quorum is who may sign a TUF role: keys, and how many of them have to.
//
// A Quorum verifies metadata as go-tuf holds them. A Verifier is one whose keys are ready to verify many files as they
// stand. Both count what go-tuf counts; keys of types that it does not know are left out beforehand (Legible), because
// it would give up at the first.
package quorum

import (
	"maps"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Quorum is who may sign a role. The zero Quorum is nobody.
type Quorum struct {
	Keys      map[string]*metadata.Key
	IDs       []string // of the keys that may, without those that this program cannot read
	Threshold int
}

// Of is the quorum of these keys.
func Of(keys map[string]*metadata.Key, ids []string, threshold int) Quorum {
	return Quorum{keys, legibleIDs(keys, ids), threshold}
}

// OfRoot is who may sign a role by the root, nobody if it does not name the role.
func OfRoot(root *metadata.Metadata[metadata.RootType], role string) Quorum {
	r := root.Signed.Roles[role]
	if r == nil {
		return Quorum{}
	}
	return Of(root.Signed.Keys, r.KeyIDs, r.Threshold)
}

// Verify checks that md, a go-tuf metadata object, carries the signatures that q asks for.
func (q Quorum) Verify(role string, md any) error {
	d := metadata.Root()
	d.Signed.Keys = q.Keys
	d.Signed.Roles[role] = &metadata.Role{KeyIDs: q.IDs, Threshold: q.Threshold}
	return d.VerifyDelegate(role, md)
}

// Signers returns the ids of q's keys that validly signed md, a go-tuf metadata object that q has already accepted.
func (q Quorum) Signers(md any) []string {
	var ids []string
	for _, id := range q.IDs {
		one := Quorum{q.Keys, []string{id}, 1}
		if one.Verify(metadata.TIMESTAMP, md) == nil && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// legibleIDs leaves out the keys that this program cannot read: the specification leaves room for others' types, the
// rest may still reach the threshold, and go-tuf gives up at the first it does not know.
func legibleIDs(keys map[string]*metadata.Key, ids []string) []string {
	bad := func(id string) bool {
		k := keys[id]
		if k == nil {
			return true
		}
		_, err := k.ToPublicKey()
		return err != nil
	}
	if !slices.ContainsFunc(ids, bad) {
		return ids
	}
	return slices.DeleteFunc(slices.Clone(ids), bad)
}

// Legible is root as go-tuf can verify with it.
func Legible(root *metadata.Metadata[metadata.RootType]) *metadata.Metadata[metadata.RootType] {
	out := *root
	out.Signed.Roles = maps.Clone(root.Signed.Roles)
	for name, r := range out.Signed.Roles {
		role := *r
		role.KeyIDs = legibleIDs(root.Signed.Keys, r.KeyIDs)
		out.Signed.Roles[name] = &role
	}
	return &out
}

// LegibleTargets is the same for a role that delegates.
func LegibleTargets(md *metadata.Metadata[metadata.TargetsType]) *metadata.Metadata[metadata.TargetsType] {
	d := md.Signed.Delegations
	if d == nil {
		return md
	}
	out, ds := *md, *d
	ds.Roles = slices.Clone(d.Roles)
	for i := range ds.Roles {
		ds.Roles[i].KeyIDs = legibleIDs(d.Keys, ds.Roles[i].KeyIDs)
	}
	if d.SuccinctRoles != nil {
		s := *d.SuccinctRoles
		s.KeyIDs = legibleIDs(d.Keys, s.KeyIDs)
		ds.SuccinctRoles = &s
	}
	out.Signed.Delegations = &ds
	return &out
}
