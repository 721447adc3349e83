package reconcile

import (
	"context"
	"fmt"
	"strings"

	"bakehouse/agent/trust/statement"

	"bakehouse/reconcile/contents"
	"bakehouse/reconcile/desired"
	"bakehouse/reconcile/rules"
	"bakehouse/schema"
	"bakehouse/serve/store"
)

// accepts is which signatures a host with a certain package wants on the next one: what the updater's rules resolved to when
// it was baked. Nil: the package has no updater, so nothing on the host installs anything.
type accepts struct {
	keys      []schema.AcceptedKey
	threshold int
}

// given reports whether the signatures are enough for a host.
func (a *accepts) given(s *signatures) bool {
	if a == nil {
		return true
	}
	_, err := statement.Verify(s.envelopes, s.statement, a.keys, a.threshold)
	return err == nil
}

// by reports whether packages that the keys with these public halves sign are enough.
func (a *accepts) by(public map[string]bool) bool {
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

func (a *accepts) String() string {
	var names []string
	for _, k := range a.keys {
		names = append(names, k.Name)
	}
	if len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%d of %s", a.threshold, strings.Join(names, ", "))
}

func acceptsOf(config []byte) (*accepts, error) {
	c, err := schema.DecodeAgentConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", schema.ConfigFile, err)
	}
	return &accepts{c.Keys, c.Threshold}, nil
}

// acceptsOfRecipe reads it from a recipe, nil for a host that no package can be made for.
func acceptsOfRecipe(r *rules.Recipe) (*accepts, error) {
	if r == nil {
		return nil, nil
	}
	for _, o := range r.Outputs {
		for _, f := range o.Files {
			if f.Path == schema.ConfigFile {
				return acceptsOf(f.Content)
			}
		}
	}
	return nil, nil
}

// acceptance finds what published packages accept: from states that have their recipe, which is quick, or else from the
// package itself.
type acceptance struct {
	store  store.Store
	states []*desired.State
	known  map[schema.Digest]*accepts // by manifest
}

func newAcceptance(st store.Store, states ...*desired.State) *acceptance {
	return &acceptance{st, states, map[schema.Digest]*accepts{}}
}

func (a *acceptance) of(ctx context.Context, c schema.Candidate) (*accepts, error) {
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

func (a *acceptance) find(ctx context.Context, c schema.Candidate) (*accepts, error) {
	for _, s := range a.states {
		if s == nil {
			continue
		}
		if r := s.Resolved.Recipes[c.Recipe]; r != nil {
			return acceptsOfRecipe(r)
		}
	}
	m, err := readManifest(ctx, a.store, c.Manifest)
	if err != nil {
		return nil, err
	}
	files, err := listPackage(m, segmentsOf(ctx, a.store))
	if err != nil {
		return nil, err
	}
	config := contents.Config(files)
	if config == nil {
		return nil, nil
	}
	return acceptsOf(config)
}
