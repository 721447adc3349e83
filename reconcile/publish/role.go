package publish

import (
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"bakehouse/agent/trust/bins"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/schema/tree"
)

// What a role says follows from a draft and the lifetimes that the commit gives; its version, from the store.

// top is the role targets.
func (d *Draft) top(life fleet.Lifetimes) *metadata.Metadata[metadata.TargetsType] {
	md := metadata.Targets(d.Time.Add(life.Targets))
	bins.NameRole(md, metadata.TARGETS)
	md.Signed.Delegations = d.Delegations
	md.Signed.Targets = d.TopTargets()
	return md
}

// snapshotOf lists versions only: lengths and hashes of every bin would double what each host reads at each change.
// One hash over all of them, of package tree, says the same to who reads all. sums are those of the files, by role.
func snapshotOf(
	meta map[string]*metadata.MetaFiles, sums map[string]schema.Digest, expires time.Time,
) (*metadata.Metadata[metadata.SnapshotType], tree.Tree) {
	md := metadata.Snapshot(expires)
	md.Signed.Meta = meta
	var lines []tree.Line
	for file, m := range meta {
		role := strings.TrimSuffix(file, ".json")
		lines = append(lines, tree.Line{Role: role, Version: m.Version, SHA256: sums[role]})
	}
	t := tree.Of(lines)
	md.Signed.UnrecognizedFields = tree.Sign(nil, t.Root())
	return md, t
}

func timestampOf(snapshot *metadata.MetaFiles, expires time.Time) *metadata.Metadata[metadata.TimestampType] {
	md := metadata.Timestamp(expires)
	md.Signed.Meta = map[string]*metadata.MetaFiles{"snapshot.json": snapshot}
	return md
}
