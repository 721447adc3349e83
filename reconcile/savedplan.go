package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"bakehouse/reconcile/bake"
	"bakehouse/reconcile/plan"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/source"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
	"bakehouse/serve/store"
)

// boundPlan is a saved plan that a pass is to carry out, and nothing else.
type boundPlan struct{ plan.Binding }

// readPlan reads a saved plan and refuses one of another tree or program.
func readPlan(file string, rev *source.Revision, tool string) (*boundPlan, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.Hint(err, "`bakehouse plan --against STORE --out FILE` writes one")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, plan.MaxSaved+1))
	if err == nil && len(b) > plan.MaxSaved {
		err = errors.New("is too large for a saved plan")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	bound, err := plan.ParseBinding(b)
	if err != nil {
		return nil, fault.Hint(fmt.Errorf("%s: %w", file, err), "`bakehouse plan --against STORE --out FILE` writes one")
	}
	return &boundPlan{bound}, bound.CheckSource(plan.Binding{Tree: rev.Tree, Tool: tool, Bake: bake.Version})
}

// checkHead refuses a plan that was made against another state of the store.
func (b *boundPlan) checkHead(ctx context.Context, st store.Store, release *publish.State) error {
	now := plan.Binding{}
	if err := bindHead(ctx, &now, st, release); err != nil {
		return err
	}
	return b.CheckHead(now)
}

// bindHead fills in the store's part.
func bindHead(ctx context.Context, b *plan.Binding, st store.Store, release *publish.State) error {
	if b.Head = release.Head(); b.Head == 0 {
		return nil
	}
	text, err := store.Read(ctx, st, schema.TimestampKey(b.Head), schema.MaxTimestamp)
	b.Timestamp = schema.DigestOf(text)
	return err
}

// savePlan writes a plan of rev against the release. It may hold what packages contain, so only its owner reads it.
func savePlan(
	ctx context.Context, file string, r *plan.Report, rev *source.Revision, tool string, st store.Store,
	release *publish.State,
) error {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		// The file is replaced, and a device or a pipe in its place would be gone.
		return fault.Hint(fmt.Errorf("%s is not a regular file", file),
			"name a file with --out, or print the plan with --json")
	}
	s := plan.Saved{Binding: plan.Binding{Tree: rev.Tree, Tool: tool, Bake: bake.Version}, Report: r}
	if err := bindHead(ctx, &s.Binding, st, release); err != nil {
		return err
	}
	b, err := s.Encode()
	if err != nil {
		return err
	}
	return fault.Hint(durable.WriteFile(file, b, 0o600), "name another file with --out")
}
