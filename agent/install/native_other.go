//go:build !windows

package install

import (
	"os"

	"bakehouse/agent/install/listing"
)

// native are ways of installing that only one system has.
func (s *System) native() []manager { return nil }

// openStaged opens the file of a package.
func openStaged(name string) (*os.File, error) { return os.Open(name) }

// reaches is Reaches where permission bits and links say who led where.
func (s *System) reaches(files listing.List) error { return s.Reaches(files) }
