package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"bakehouse/agent/hostpath"
	"bakehouse/agent/owned"
	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// Files says where a host's files are.
type Files struct {
	Root string           // directory in place of /; empty: the real one
	Now  func() time.Time // for the anchor
}

// Path is where an absolute path is on this host.
func (f Files) Path(p string) string { return hostpath.On(f.Root, p) }

// Stored is a path in StateDir.
func (f Files) Stored(elem ...string) string {
	return filepath.Join(append([]string{f.Path(schema.StateDir(runtime.GOOS))}, elem...)...)
}

// Create makes StateDir and checks it.
func (f Files) Create() error {
	if err := durable.MkdirAll(f.Stored(), 0o700); err != nil {
		return NeedRoot(err)
	}
	return NeedRoot(owned.Check(f.Stored()))
}

// Sweep removes what a run left that died while it wrote: in StateDir and the directories in it. What stays is read by
// nobody.
func (f Files) Sweep() {
	_ = durable.Sweep(f.Stored())
	entries, _ := os.ReadDir(f.Stored())
	for _, e := range entries {
		if e.IsDir() {
			_ = durable.Sweep(f.Stored(e.Name()))
		}
	}
}

// Lock keeps a second update, rollback or registration out until unlock is called. The kernel releases it when the
// process ends, however it ends.
func (f Files) Lock() (unlock func(), err error) {
	file, err := os.OpenFile(f.Stored("lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, NeedRoot(err)
	}
	release, err := lockFile(file)
	if err != nil {
		file.Close()
		if errors.Is(err, ErrBusy) {
			return nil, fault.Hint(ErrBusy, "wait until it ends; %s shows what it does", f.Stored(LogFile))
		}
		return nil, fmt.Errorf("lock %s: %w", file.Name(), err)
	}
	return func() {
		// Closing is not enough: a child that was forked meanwhile, and has not reached its exec, holds the file open too.
		release()
		file.Close()
	}, nil
}

// ErrBusy is that only one of these runs at a time.
var ErrBusy = errors.New("another update, rollback or registration of this host is under way")

// NeedRoot adds the usual remedy to a permission error.
func NeedRoot(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fault.Hint(err, "%s", asRoot)
	}
	return err
}

// ReadFile reads a file of at most limit bytes; nil if it is not there.
func ReadFile(name string, limit int64) ([]byte, error) {
	f, err := durable.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, NeedRoot(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		return nil, fmt.Errorf("%s is %w than %d bytes", name, errTooLong, limit)
	}
	return b, err
}

var errTooLong = errors.New("longer")
