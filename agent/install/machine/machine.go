// Package machine is what all ways of installing share: the host that a package goes on, with the programs that run
// there, the package that the updater staged, and what a failure says of either.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"bakehouse/agent/hostpath"
	"bakehouse/agent/install/listing"
	"bakehouse/agent/process"
	"bakehouse/schema"
)

// System is the host that packages are installed on.
type System struct {
	Root string       // directory in place of /; empty: the real one
	Log  *slog.Logger // what installers print, at debug level, and what whoever looks after the host should know
}

// Package is a staged package: a file in a directory that only the updater can write.
type Package struct {
	File    string
	SHA256  schema.Digest
	Size    int64 // bytes of File
	Name    string
	Version string
	Recipe  schema.RecipeID
	Format  schema.Format
	Files   listing.List // its contents; nil: not known yet

	Unpacked string // instead of File, where the updater itself unpacks: in VersionDir (package versions)
}

// Revert takes an installation back. It can be called once.
type Revert func(context.Context) error

// Path is where an absolute path of a package is on this system.
func (s *System) Path(p string) string { return hostpath.On(s.Root, p) }

// Top is the directory that all paths are below.
func (s *System) Top() string {
	if s.Root == "" {
		return "/"
	}
	return s.Root
}

// Sandboxed reports whether that is another directory than /.
func (s *System) Sandboxed() bool { return s.Root != "" && s.Root != "/" }

// Command runs a program, and returns the end of what it printed, which also goes to the log.
func (s *System) Command(ctx context.Context, env []string, name string, args ...string) ([]byte, error) {
	return process.Run(process.New(ctx, env, name, args...), s.Log)
}

// maxOutput bounds what a program prints that is read whole, in bytes.
const maxOutput = 64 << 20

// Output is what a program prints on stdout, at most maxOutput of it.
func (s *System) Output(ctx context.Context, name string, args ...string) ([]byte, error) {
	c := process.New(ctx, nil, name, args...)
	out, err := c.StdoutPipe()
	if err != nil {
		return nil, err
	}
	var stderr process.Last
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = io.Copy(&b, io.LimitReader(out, maxOutput))
	_, _ = io.Copy(io.Discard, out)
	if werr := c.Wait(); werr != nil {
		err = errors.Join(fmt.Errorf("%s: %w: %s", name, werr, process.Tail(stderr.Bytes)), err)
	}
	return b.Bytes(), err
}

// Warn tells whoever looks after the host.
func (s *System) Warn(msg string, args ...any) {
	if s.Log != nil {
		s.Log.Warn(msg, args...)
	}
}

// Debug tells whoever looks for a fault.
func (s *System) Debug(msg string, args ...any) {
	if s.Log != nil {
		s.Log.Debug(msg, args...)
	}
}
