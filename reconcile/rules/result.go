package rules

import (
	"context"

	"bakehouse/schema"
	"bakehouse/schema/fleet"
)

// Evaluator evaluates the plugins of a fleet. The error is a fleet.Problems if the plugin or the parameters are to
// blame.
type Evaluator interface {
	// Output is what the plugin puts on a host. params are those that rules set; the rest take their defaults.
	Output(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (*fleet.Output, error)
	// Settings are all parameters with their values in force, defaults included.
	Settings(ctx context.Context, plugin string, in fleet.Inputs, params map[string]fleet.Value) (map[string]fleet.Value,
		error)
}

// Resolved is a fleet with every host's recipe.
type Resolved struct {
	Fleet   *fleet.Fleet
	Hosts   map[string]*Result // by host name, but those that are retired
	Retired []*fleet.Host      // by name
	Recipes map[schema.RecipeID]*Recipe
	// what has to be there before anything can be baked: roots, a key, a package for any host at all
	Missing fleet.Problems
	// hosts without a package, then what is probably not meant: rules without effect, hosts without a ring or site
	Warnings fleet.Problems
}

// Result is what one host gets.
type Result struct {
	Host     *fleet.Host
	Platform schema.Platform
	Format   schema.Format
	Site     string
	Ring     string // empty: the host holds
	Selected bool
	// after what time without a word from it a server may retire its registration; 0: never
	RetireAfter schema.Duration
	Recipe      *Recipe
	// why there is no package for it, though others get theirs; empty: there is one, or Missing says why none is
	Lacks string

	fleet *fleet.Fleet
	sited bool // something gives it its site

	updater bool // the package has it
}

// Recipe is the content of a package, for a platform but no format. Its ID covers everything that ends in the package.
type Recipe struct {
	ID       schema.RecipeID
	Platform schema.Platform
	Outputs  []*fleet.Output // by plugin name; none if no rule gives the host a plugin
}
