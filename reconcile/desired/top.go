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

// rootless is the error for files without a first root. Where there once was one it is never to be made again: hosts
// accept what chains from the first only.
func (s *State) rootless() error {
	if s.Revision != nil {
		if had := s.Repo.LastWith(s.Revision, firstRoot); had != "" {
			return fault.Hint(fmt.Errorf("%s has no %s: it was deleted, commit %.12s has it", s.Name, firstRoot, had),
				"restore it, because hosts trust no other: git checkout %.12s -- %s", had, s.Revision.Path(firstRoot))
		}
	}
	return fault.Hint(fmt.Errorf("%s has no %s", s.Name, firstRoot),
		"make the root with `bakehouse root init` and commit it")
}
