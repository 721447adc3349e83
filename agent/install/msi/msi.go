package msi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"bakehouse/agent/install/machine"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

// Codes are what Windows Installer knows a package by: the product code is its own, the upgrade code that of all
// packages of its name.
type Codes struct{ Product, Upgrade string }

// Windows is what is asked of the system.
type Windows interface {
	// Codes reads them from the file of a package.
	Codes(file string) (Codes, error)
	// Products are the product codes of what is installed with an upgrade code.
	Products(upgrade string) ([]string, error)
	// Recipe and version of the installed package, as it wrote them down; empty if there is none.
	Recorded() (recipe schema.RecipeID, version string, err error)
	// Renames are the files that the next boot replaces or removes.
	Renames() ([]string, error)
	// Services are those of the installed package that run by themselves.
	Services() ([]string, error)
	// Stop stops a service and waits until it has ended; one that is not there, or does not run, is no error.
	Stop(ctx context.Context, service string) error
	// Start starts a service, and waits until it runs; one that runs is no error.
	Start(ctx context.Context, service string) error
	// Free ends the processes that run files of the package, or moves the file aside where that is this program's.
	Free() (ended []string, err error)
	// Msiexec runs the installer, and returns its exit code and log.
	Msiexec(ctx context.Context, args ...string) (code uint32, log []byte, err error)
}

// Installer installs on a Windows.
type Installer struct {
	Windows
	Folders []string            // those of the package, as Windows has them
	Stopped map[string][]string // by service: "stopped", "disabled", by an administrator
	Log     *slog.Logger
	Pause   func(ctx context.Context, d time.Duration) error // between attempts
	Limit   time.Duration                                    // of one run of the installer
}

// pauses are before each further attempt at an installation that found the installer busy.
var pauses = []time.Duration{30 * time.Second, time.Minute, 90 * time.Second}

// Hold says why nothing may be installed before the next boot; nil: it may.
func (i *Installer) Hold() error {
	files, err := i.due()
	if err != nil || len(files) == 0 {
		return err
	}
	return fault.Hint(fmt.Errorf("an installation before waits for this host to boot: %d files are replaced then, "+
		"such as %s", len(files), files[0]), "restart Windows; the next update goes on")
}

// due are our own files that the next boot replaces or removes.
func (i *Installer) due() (files []string, err error) {
	all, err := i.Renames()
	if err != nil {
		return nil, fmt.Errorf("asking what the next boot replaces: %w", err)
	}
	for _, f := range all {
		f = strings.TrimPrefix(strings.TrimLeft(f, "!*1"), `\??\`)
		if slices.ContainsFunc(i.Folders, func(dir string) bool { return within(dir, f) }) {
			files = append(files, f)
		}
	}
	return files, nil
}

// within reports whether a file is below a directory. Windows does not tell cases apart.
func within(dir, file string) bool {
	dir = strings.TrimRight(dir, `\`) + `\`
	return len(file) > len(dir) && strings.EqualFold(file[:len(dir)], dir)
}

// Install installs p, whose file nobody can exchange until this returns.
func (i *Installer) Install(ctx context.Context, p machine.Package) error {
	codes, err := i.Codes(p.File)
	if err != nil {
		return &machine.ReleaseError{Err: fmt.Errorf("the package's codes: %w", err)}
	}
	if err := i.Hold(); err != nil {
		return err
	}
	before, err := i.Products(codes.Upgrade)
	if err != nil {
		return fmt.Errorf("asking which products are installed: %w", err)
	}
	had, err := i.Services()
	if err != nil {
		return err
	}
	if err := i.quiet(ctx, had); err != nil {
		i.start(ctx, had)
		return err
	}
	code, log, err := i.run(ctx, p.File)
	end := ending(code, log, err)
	after, look := i.look(codes, p)
	now, serr := i.Services()
	if serr != nil || len(now) == 0 {
		now = had
	}
	i.start(ctx, now) // also of what is replaced next: the updater may not come that far
	switch {
	case look == nil && end.done:
		if files, err := i.due(); err == nil && len(files) > 0 {
			i.Log.Warn("the next boot of this host replaces files that were in use", "files", strings.Join(files, ", "))
		}
		return nil
	case look == nil: // it is there, and whole for all that can be seen, but something failed: it is done once more
		return &machine.TouchedError{Err: end.err(i.Limit)}
	case end.done:
		return &machine.TouchedError{Err: fmt.Errorf("msiexec ended with %d, but %w", code, look)}
	}
	err = end.err(i.Limit)
	if end.release {
		err = &machine.ReleaseError{Err: err}
	}
	if end.untouched && slices.Equal(before, after) {
		return err
	}
	return &machine.TouchedError{Err: err}
}

// look says what is wrong with what is there now, if it is to be p.
func (i *Installer) look(codes Codes, p machine.Package) (products []string, err error) {
	products, err = i.Products(codes.Upgrade)
	switch {
	case err != nil:
		return nil, fmt.Errorf("it cannot be asked which products are installed: %w", err)
	case len(products) != 1 || products[0] != codes.Product:
		return products, fmt.Errorf("installed are %q, not %s alone", products, codes.Product)
	}
	recipe, version, err := i.Recorded()
	switch {
	case err != nil:
		return products, fmt.Errorf("the registry cannot be asked: %w", err)
	case recipe != p.Recipe || version != p.Version:
		return products, fmt.Errorf("the registry names version %.80q of recipe %.80q", version, recipe)
	}
	return products, nil
}

// quiet stops what runs of the package.
func (i *Installer) quiet(ctx context.Context, services []string) error {
	for _, s := range services {
		if err := i.Stop(ctx, s); err != nil {
			return fmt.Errorf("the service %s does not stop: %w", s, err)
		}
	}
	ended, err := i.Free()
	if len(ended) > 0 {
		i.Log.Warn("programs of the package were ended, as they ran without a service", "programs",
			strings.Join(ended, ", "))
	}
	return err
}

// start starts services that no administrator stopped. One that does not start is for the health checks to judge.
func (i *Installer) start(ctx context.Context, services []string) {
	for _, s := range services {
		if slices.Contains(i.Stopped[s], "stopped") {
			if err := i.Stop(ctx, s); err != nil {
				i.Log.Warn("a service that an administrator stopped runs again", "service", s, "error", err)
			}
			continue
		}
		if err := i.Start(ctx, s); err != nil {
			i.Log.Warn("a service does not start", "service", s, "error", err)
		}
	}
}

// run runs the installer on a file until it is not busy any more.
func (i *Installer) run(ctx context.Context, file string) (code uint32, log []byte, err error) {
	for n := 0; ; n++ {
		limited, cancel := context.WithTimeout(ctx, i.Limit)
		code, log, err = i.Msiexec(limited, "/i", file, "/qn", "/norestart")
		if hung := limited.Err() != nil; hung {
			err = errHung
		}
		cancel()
		if err != nil || !busy(code, log) || n == len(pauses) {
			return code, log, err
		}
		i.Log.Info("the installer is busy", "code", code, "pause", pauses[n])
		if err := i.Pause(ctx, pauses[n]); err != nil {
			return code, log, nil
		}
	}
}

var errHung = errors.New("it did not end")
