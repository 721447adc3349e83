package evaluate

import (
	"context"

	"bakehouse/reconcile/evaluate/result"
	"bakehouse/schema/fleet"
)

// Engine evaluates CUE. All that crosses it is plain data, so it may as well be in another process.
type Engine interface {
	// Directory evaluates a directory. What is wrong with its files is in the result; an error is about evaluation itself.
	Directory(ctx context.Context, src *result.Source) (*result.Directory, error)
	// Check says what is wrong with the value that a rule gives to a parameter of a plugin.
	Check(ctx context.Context, src *result.Source, info fleet.Info, name string, v fleet.Value) (fleet.Problems, error)
	// Evaluate yields params and the sections of a plugin. The error is a fleet.Problems if the plugin or the parameters
	// are to blame.
	Evaluate(ctx context.Context, src *result.Source, in fleet.Inputs, params map[string]fleet.Value) (*result.Node, error)
}
