// Package accept answers whether a host would install a package: who signed it, which keys the host's present package
// accepts, and which hosts could no longer be reached if a key were retired.
package accept

import (
	"context"
	"fmt"
	"strings"

	"bakehouse/agent/trust/statement"

	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/publish"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/schema/fleet"
	"bakehouse/serve/store"
)

// Rule is which signatures a host with a certain package wants on the next one: what the updater's rules resolved to
// when it was baked. Nil: the package has no updater, so nothing on the host installs anything.
type Rule struct {
	keys      []schema.AcceptedKey
	threshold int
}

// Given reports whether the signatures are enough for a host.
func (a *Rule) Given(s *Signatures) bool {
	if a == nil {
		return true
	}
	_, err := statement.Verify(s.Envelopes, s.Statement, a.keys, a.threshold)
	return err == nil
}

// By reports whether packages that the keys with these public halves sign are enough.
func (a *Rule) By(public map[string]bool) bool {
	if a == nil {
		return true
	}
	n := 0
	for _, k := range a.keys {
		if public[k.Public] {
			n++
		}
	}
	return n >= a.threshold
}

func (a *Rule) String() string {
	var names []string
	for _, k := range a.keys {
		names = append(names, k.Name)
	}
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%d of %s", a.threshold, strings.Join(names, ", "))
}

func ofConfig(config []byte) (*Rule, error) {
	c, err := schema.DecodeAgentConfig(config)
	if err != nil {
		return nil, fmt.Errorf("the updater's settings in the package: %w", err)
	}
	return &Rule{c.Keys, c.Threshold}, nil
}

// OfRecipe reads it from a recipe, nil for a host that no package can be made for.
func OfRecipe(r *rules.Recipe) (*Rule, error) {
	o := updater(r)
	if o == nil {
		return nil, nil
	}
	return ofOutput(o)
}

// updater is the updater's part of a recipe, which may be nil.
func updater(r *rules.Recipe) *fleet.Output {
	if r == nil {
		return nil
	}
	for _, o := range r.Outputs {
		if o.Plugin == fleet.UpdaterPlugin {
			return o
		}
	}
	return nil
}

func ofOutput(o *fleet.Output) (*Rule, error) {
	for _, f := range o.Files {
		if schema.IsConfigFile(f.Path) {
			return ofConfig(f.Content)
		}
	}
	return nil, nil
}

// Finder finds what published packages accept: from states that have their recipe, which is quick, or else from the
// package itself.
type Finder struct {
	store  store.Store
	states []*desired.State
	known  map[schema.Digest]*Rule // by manifest
}

func NewFinder(st store.Store, states ...*desired.State) *Finder {
	return &Finder{st, states, map[schema.Digest]*Rule{}}
}

func (a *Finder) Of(ctx context.Context, c schema.Candidate) (*Rule, error) {
	if found, ok := a.known[c.Manifest]; ok {
		return found, nil
	}
	found, err := a.find(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", c.SHA256.Short(), err)
	}
	a.known[c.Manifest] = found
	return found, nil
}

func (a *Finder) find(ctx context.Context, c schema.Candidate) (*Rule, error) {
	for _, s := range a.states {
		if s == nil {
			continue
		}
		if r := s.Resolved.Recipes[c.Recipe]; r != nil {
			return OfRecipe(r)
		}
	}
	m, err := publish.ReadManifest(ctx, a.store, c.Manifest)
	if err != nil {
		return nil, err
	}
	files, err := contents.OfPackage(m, publish.Segments(ctx, a.store))
	if err != nil {
		return nil, err
	}
	config := contents.Config(files)
	if config == nil {
		return nil, nil
	}
	return ofConfig(config)
}
