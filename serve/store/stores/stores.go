// Package stores opens a store by its location.
package stores

import (
	"context"
	"fmt"
	"os"
	"strings"

	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/local"
)

// Open opens the store at location: a directory, as a path or after "file://". A store that is not there yet is an
// empty one; the first Create or Lock makes it. A location holds no credentials, so that it may be printed.
func Open(ctx context.Context, location string) (store.Store, error) {
	scheme, rest, ok := strings.Cut(location, "://")
	if !ok {
		scheme, rest = "file", location
	}
	switch {
	case scheme != "file":
		// The rest may hold credentials, so only the scheme is repeated.
		return nil, fault.Hint(fmt.Errorf("store: this version knows no %.20q stores", scheme+"://"),
			"give a directory, or file:// and a directory")
	case rest == "":
		return nil, fault.Hint(fmt.Errorf("store %q: no directory", location),
			"give a directory, such as --store store")
	}
	return local.Open(rest)
}

// OpenExisting is Open for those who only read: a store that is not there yet is an error.
func OpenExisting(ctx context.Context, location string) (store.Store, error) {
	s, err := Open(ctx, location)
	if err != nil {
		return nil, err
	}
	if _, rest, ok := strings.Cut(location, "file://"); ok {
		location = rest
	}
	if _, err := os.Stat(location); err != nil {
		return nil, fault.Hint(fmt.Errorf("store: %w", err),
			"name the right directory with --store, or publish a first release into it with bakehouse reconcile")
	}
	return s, nil
}
