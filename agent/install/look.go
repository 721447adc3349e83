package install

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"bakehouse/agent/install/listing"
	"bakehouse/schema"
)

// Seen is what of an installed package is not as it was accepted.
type Seen struct {
	Version string // that is there; empty: the package's own; "none": none
	Differ  []listing.Difference
	Learnt  bool // the record was updated
}

// Look compares an installed package with its record. The package manager is asked for the version only if its files
// have changed since; an error says that it cannot tell. With digest, every file is digested.
func (s *System) Look(ctx context.Context, p Package, r *listing.Record, digest bool) (seen Seen, err error) {
	m, err := s.manager(p.Format)
	if err != nil {
		return seen, err
	}
	if now := listing.Witness(m.witnesses(p)); digest || now == "" || now != r.Witness {
		version, err := m.version(ctx, p)
		if err != nil {
			return seen, fmt.Errorf("asking which version of %s is installed: %w", p.Name, err)
		}
		if version != p.Version {
			seen.Version = cmp.Or(version, "none")
			return seen, nil
		}
		r.Witness, seen.Learnt = now, now != r.Witness
	}
	differ, learnt := r.Files.Check(m.locate(), digest)
	seen.Differ, seen.Learnt = differ, seen.Learnt || learnt
	return seen, nil
}

// Has reports whether a staged package, whose contents are known, is what is installed: its version, and each file as
// it came.
func (s *System) Has(ctx context.Context, p Package) bool {
	m, err := s.manager(p.Format)
	if err != nil || len(p.Files) == 0 {
		return false
	}
	version, err := m.version(ctx, p)
	if err != nil || version != p.Version {
		return false
	}
	differ, _ := slices.Clone(p.Files).Check(m.locate(), true)
	return len(differ) == 0
}

// Locate finds files of the installed package of a format by their paths; "" for one that is gone.
func (s *System) Locate(f schema.Format) func(path string) string {
	m, err := s.manager(f)
	if err != nil {
		return func(string) string { return "" }
	}
	return m.locate()
}

// Settle makes r the record of a package that was just installed: what its scripts changed of it is right.
func (s *System) Settle(p Package, r *listing.Record) {
	if m, err := s.manager(p.Format); err == nil {
		r.Witness, r.Files = "", r.Files.Settle(m.locate())
	}
}
