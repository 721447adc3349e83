package desired

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"bakehouse/reconcile/evaluate"
	"bakehouse/reconcile/source"
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
	if err := s.fleetless(); err != nil {
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
	if lost := s.lost(firstRoot); lost != nil {
		return fault.Hint(fmt.Errorf("%s has no %s: %v", s.Name, firstRoot, lost),
			"restore it, because hosts trust no other: %s", lost.Restore())
	}
	return fault.Hint(fmt.Errorf("%s has no %s", s.Name, firstRoot),
		"make the root with `bakehouse root init` and commit it")
}

// lost is a file that the history has, and the state has not.
func (s *State) lost(pattern string) *source.Loss {
	switch {
	case s.Revision != nil:
		return s.Repo.Lost(s.Files, s.Revision, pattern)
	case s.dir != "":
		return source.LostHere(s.dir, pattern)
	}
	return nil
}

// fleetless is the error for files without a fleet.cue that once had one.
func (s *State) fleetless() error {
	if _, err := fs.Stat(s.Files, "fleet.cue"); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if lost := s.lost("fleet.cue"); lost != nil {
		return fault.Hint(fmt.Errorf("%s has no fleet.cue: %v", s.Name, lost), "restore it: %s", lost.Restore())
	}
	return nil
}

// recall says of what a fleet lacks that it had it: then it is to be restored. Another root, and packages that only a
// new key signs, are accepted by no host that is installed.
func (s *State) recall(ps fleet.Problems) {
	for i := range ps {
		p := &ps[i]
		var lost *source.Loss
		switch p.Pos.File {
		case "trust":
			lost = s.lost(firstRoot)
		case "keys":
			lost = s.lost("keys/*.cue")
		}
		if lost != nil {
			p.Msg = fmt.Sprintf("%s: %v", strings.TrimSuffix(p.Msg, " yet"), lost)
			p.Hint = "restore it, because hosts accept no other: " + lost.Restore()
		}
	}
}
