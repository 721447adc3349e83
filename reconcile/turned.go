package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/plan"
	"bakehouse/schema"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// refuseTurned refuses paths that are a file in one of a host's packages and a folder in the other, where the host's
// package manager cannot follow. What the packages before hold is what the store says of them; one that it says nothing
// of is not looked at.
func refuseTurned(
	ctx context.Context, st store.Store, head *desired.State, was map[string]plan.Published, diff *plan.Plan,
) error {
	var t plan.Turned
	shared := map[schema.Digest]plan.Paths{}
	for host, n := range diff.Steps() {
		if now := head.Resolved.Hosts[host]; !plan.Strict(now) || now.Format != was[host].Format {
			continue
		}
		files, err := filesOf(ctx, st, was[host].Current.Manifest, shared)
		if err != nil {
			return err
		}
		t.Add(files, head.Resolved, host, n)
	}
	return t.Err()
}

// filesOf lists the files of a package by its manifest, or of a segment; none if the store has no list.
func filesOf(ctx context.Context, s store.Store, d schema.Digest, shared map[schema.Digest]plan.Paths,
) (paths plan.Paths, err error) {
	b, err := store.Read(ctx, s, schema.ContentsKey(d), schema.MaxContents)
	if errors.Is(err, fs.ErrNotExist) {
		return paths, nil
	}
	if err != nil {
		return paths, err
	}
	list, err := schema.DecodeContents(b)
	if err != nil {
		return paths, fault.Refuse(fmt.Errorf("%s in the store is damaged: %w", schema.ContentsKey(d), err),
			"restore it from a copy of the store, or delete it: it only lists files for people, and no host reads it")
	}
	for _, f := range list.Files {
		if paths.Files = append(paths.Files, f.Path); f.Link != "" {
			paths.Links = append(paths.Links, f.Path)
		}
	}
	for _, d := range list.Shared {
		if _, known := shared[d]; !known {
			if shared[d], err = filesOf(ctx, s, d, shared); err != nil {
				return paths, err
			}
		}
		paths.Files = append(paths.Files, shared[d].Files...)
		paths.Links = append(paths.Links, shared[d].Links...)
	}
	return paths, nil
}
