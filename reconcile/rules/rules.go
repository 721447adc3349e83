// Package rules resolves a Fleet: for each host its attributes and, per plugin, each parameter by the first rule that
// sets it; then evaluates each plugin once per distinct input, and joins the outputs into recipes. Hosts with equal
// settings share a Recipe. It reads no CUE and does no I/O.
//
// The order of rules, first to last: what the host itself sets, then the rules of its folder from top to bottom, then
// those of the folder above, up to the root. For attributes the folders' defaults come after all rules, likewise
// deepest first.
package rules

import (
	"context"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Resolved is a fleet with every host's recipe.
type Resolved struct {
	Fleet   *fleet.Fleet
	Hosts   map[string]*Result // by host name
	Recipes map[schema.RecipeID]*Recipe
	Missing fleet.Problems // what has to be there before packages can be baked: roots, a key, pinned programs
}

// Result is what one host gets.
type Result struct {
	Host     *fleet.Host
	Platform schema.Platform
	Format   schema.Format
	Site     string
	Ring     string // empty: the host holds
	Selected bool
	Recipe   *Recipe
}

// Recipe is the content of a package, for a platform but no format. Its ID covers everything that ends in the package.
type Recipe struct {
	ID       schema.RecipeID
	Platform schema.Platform
	Outputs  []*fleet.Output // by plugin name; none if no rule gives the host a plugin
}

// Resolve computes every host's result. The error is a fleet.Problems if the repo is to blame.
func Resolve(ctx context.Context, f *fleet.Fleet) (*Resolved, error) { panic("not yet") }
