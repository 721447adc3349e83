// Package stores opens a store by its location.
package stores

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"bakehouse/schema/fault"
	"bakehouse/serve/store"
	"bakehouse/serve/store/local"
	"bakehouse/serve/store/remote"
	"bakehouse/serve/store/s3"
)

// Form is what locations look like, for help texts.
const Form = "a directory, " + s3.Form + ", or " + remote.Form

// Open opens the store at location: a directory, as a path or after "file://"; a bucket, as package s3 has it; or what
// a server has, as package remote has it. A store that is not there yet is an empty one; the first Create or Lock makes
// it. A location holds no credentials, so that it may be printed.
func Open(ctx context.Context, location string) (store.Store, error) {
	scheme, rest, ok := strings.Cut(location, "://")
	if !ok {
		scheme, rest = "file", location
	}
	switch {
	case scheme == "s3":
		return s3.Open(location)
	case scheme == "https":
		return remote.Open(location)
	case scheme != "file":
		// The rest may hold credentials, so only the scheme is repeated.
		return nil, fault.Hint(fmt.Errorf("store: this version knows no %.20q stores", scheme+"://"),
			"give %s", Form)
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
	if !Remote(location) {
		_, err = os.Stat(strings.TrimPrefix(location, "file://"))
	} else {
		err = occupied(ctx, s, location)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.Hint(fmt.Errorf("store: %w", err),
			"name the right store with --store, or publish a first release into it with bakehouse reconcile")
	case err != nil:
		return nil, err
	}
	return s, nil
}

// Remote reports whether a location is that of a store on another machine, and no path.
func Remote(location string) bool {
	return strings.Contains(location, "://") && !strings.HasPrefix(location, "file://")
}

// Served reports whether a location is that of a store behind a server.
func Served(location string) bool { return strings.HasPrefix(location, "https://") }

// Absolute is a location that means the same store in every directory.
func Absolute(location string) (string, error) {
	if Remote(location) {
		return location, nil
	}
	return filepath.Abs(strings.TrimPrefix(location, "file://"))
}

// occupied looks whether there is anything in a store.
func occupied(ctx context.Context, s store.Store, location string) error {
	for _, err := range s.List(ctx, "", "") {
		return err
	}
	return fmt.Errorf("%s has no objects: %w", location, fs.ErrNotExist)
}
