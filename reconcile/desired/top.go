package desired

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/reconcile/evaluate"
	"bakehouse/schema/fault"
	"bakehouse/schema/fleet"
)

// firstRoot is where a fleet repository has the root that every later one chains from.
const firstRoot = "trust/1.root.json"

// Top reads keys and roots, and evaluates no host. That there is no root is an error.
func Top(ctx context.Context, w Where) (*fleet.Fleet, error) {
	s, err := Pin(w, nil)
	if err != nil {
		return nil, err
	}
	f, err := evaluate.LoadTop(ctx, s.Files)
	if err == nil && len(f.Roots) == 0 {
		err = s.rootless()
	}
	return f, err
}

// Anchor reads the first root.
func Anchor(w Where) ([]byte, error) {
	s, err := Pin(w, nil)
	if err != nil {
		return nil, err
	}
	b, err := fs.ReadFile(s.Files, firstRoot)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, s.rootless()
	}
	return b, err
}

func (s *State) rootless() error {
	return fault.Hint(fmt.Errorf("%s has no %s", s.Name, firstRoot),
		"make the root with `bakehouse root init` and commit it")
}
