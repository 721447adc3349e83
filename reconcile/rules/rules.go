// Package rules resolves a Fleet: for each host its attributes and, per plugin, each parameter by the first rule that
// sets it, or in whichever other way the plugin says that its rules combine; then evaluates each plugin once per
// distinct input, and joins the outputs into recipes. Hosts with equal settings share a Recipe, and hosts that no
// condition and no attribute tells apart are resolved once, as a group. It reads no CUE and does no I/O.
//
// The order of rules, first to last: what the host itself sets, then the rules of its folder from top to bottom, then
// those of the folder above, up to the root. For attributes (fleet.HostAttributes) the folders' defaults come after
// all rules, likewise deepest first. Explain runs the same code and keeps what it beat.
package rules

import (
	"context"
	"slices"

	"bakehouse/schema/fleet"
)

// Resolve computes every host's result. The error is a fleet.Problems if the repo is to blame.
func Resolve(ctx context.Context, f *fleet.Fleet, plugins Evaluator) (*Resolved, error) {
	r := newResolver(f, plugins)
	r.watch()
	res := &Resolved{Fleet: f, Hosts: make(map[string]*Result, len(f.Hosts)), Recipes: r.byID}
	for block := range slices.Chunk(f.Hosts, keysAtOnce) {
		keys := r.keys(block)
		for i, h := range block {
			if h.Retired {
				res.Retired = append(res.Retired, h)
				continue
			}
			g, err := r.group(ctx, h, keys[i])
			if err != nil {
				return nil, err
			}
			if g == nil {
				continue
			}
			result := g.Result
			result.Host = h
			if result.Recipe == nil {
				if result.Recipe, err = r.recipe(ctx, &result, g.plugins); err != nil {
					return nil, err
				}
			}
			if result.Recipe != nil {
				result.Lacks = lacks(f, &result)
			}
			res.Hosts[h.Name] = &result
		}
	}
	secrets := f.Secrets()
	if len(r.ps) > 0 {
		return nil, r.ps.WithoutTexts(secrets).Sorted()
	}
	res.Missing = missing(f)
	without, all := unpackaged(res)
	if all { // a release without any host is not meant
		res.Missing, without = append(res.Missing, without...).Sorted(), nil
		for _, h := range res.Hosts {
			h.Lacks = ""
		}
	}
	res.Missing = res.Missing.WithoutTexts(secrets)
	res.Warnings = slices.Concat(without, unstarted(res), r.told.Sorted(), r.warnings(res)).WithoutTexts(secrets)
	return res, nil
}
