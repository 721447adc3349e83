package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bakehouse/agent/cycle"
	"bakehouse/agent/install"
	"bakehouse/agent/install/listing"
	"bakehouse/agent/install/walk"
	"bakehouse/agent/state"
	"bakehouse/schema/durable"
	"bakehouse/schema/plain"
)

const (
	filesSuffix = ".files" // of a package's record of files, beside its manifest
	editedDir   = "edited" // copies of files that a repair replaced, one each, by their paths
	maxFiles    = 64 << 20 // bytes of a record of files
	maxEdited   = 16 << 20 // bytes of a file that is kept
	maxNamed    = 5        // files that are named where they differ
)

// observe is what is there of the package that was accepted. What cannot be found out is no difference: an update has
// other things to do.
func (u *update) observe(ctx context.Context, digest bool) cycle.Observed {
	var o cycle.Observed
	i := u.host.Installed
	if i == nil {
		return o
	}
	_, _, _, o.Crippled = u.host.Trusted()
	if u.host.Pending != nil {
		return o // it is half done, and known to be
	}
	record, err := u.filesOf(ctx, i)
	if err != nil {
		u.say("%v", err)
		o.Drift = &cycle.Drift{Files: []string{"the record of the package's files is lost"}, Number: 1}
		return o
	}
	seen, err := u.system().Look(ctx, packageOf(i), record, digest)
	if err != nil {
		u.say("%v", err)
		return o
	}
	if seen.Learnt {
		if err := u.keepFiles(i, record); err != nil {
			u.say("%v", err)
		}
	}
	if seen.Version == "" && len(seen.Differ) == 0 {
		return o
	}
	u.differ = seen.Differ
	o.Drift = &cycle.Drift{Version: plain.Name(seen.Version), Number: len(seen.Differ)}
	for _, d := range seen.Differ[:min(len(seen.Differ), maxNamed)] {
		o.Drift.Files = append(o.Drift.Files, plain.Name(d.String()))
	}
	u.say("the installed package is not as it was accepted: %s", o.Drift)
	return o
}

func packageOf(i *cycle.Installed) install.Package {
	return install.Package{SHA256: i.Package, Name: i.Name, Version: i.Version, Recipe: i.Recipe, Format: i.Format}
}

// filesOf is the record of an installed package's files. If it is lost or damaged, it is made again of the package that
// is kept here; an error says that this is lost, too.
func (a *Agent) filesOf(ctx context.Context, i *cycle.Installed) (*listing.Record, error) {
	if r := a.recordOf(i); r != nil {
		return r, nil
	}
	s, err := a.restage(ctx, i)
	if err != nil {
		return nil, err
	}
	defer s.Remove()
	return &listing.Record{Files: s.Files}, nil
}

// recordOf is that record; nil if it is lost or damaged.
func (a *Agent) recordOf(i *cycle.Installed) *listing.Record {
	b, err := state.ReadFile(a.files.Stored(packagesDir, i.Package.Hex()+filesSuffix), maxFiles)
	if err != nil || b == nil {
		return nil
	}
	r, err := listing.Decode(b)
	if err != nil {
		return nil
	}
	return r
}

// reaches refuses to have the files of an installed package removed, if somebody may have led elsewhere by a link.
func (a *Agent) reaches(i *cycle.Installed) error {
	if i == nil {
		return nil
	}
	if r := a.recordOf(i); r != nil {
		return a.system().Reaches(r.Files)
	}
	return nil
}

func (a *Agent) keepFiles(i *cycle.Installed, r *listing.Record) error {
	name := a.files.Stored(packagesDir, i.Package.Hex()+filesSuffix)
	b := r.Encode()
	if len(b) > maxFiles {
		return fmt.Errorf("record of the package's files: it has %d bytes, more than can be read back", len(b))
	}
	if err := durable.WriteLoose(name, b, 0o600); err != nil { // filesOf makes it again
		return fmt.Errorf("record of the package's files: %w", err)
	}
	return nil
}

// settle records what the package that was just installed put on the host.
func (a *Agent) settle(i *cycle.Installed, files listing.List) {
	r := &listing.Record{Files: files}
	a.system().Settle(packageOf(i), r)
	if err := a.keepFiles(i, r); err != nil {
		a.say("%v", err)
	}
}

// keepEdits copies what somebody changed in the package's files to where nobody but root reads it, before it is
// replaced: one copy of each. A file in the place of a version's link is then removed, as no link is made over a file.
func (u *update) keepEdits(i *cycle.Installed) {
	at := u.system().Locate(i.Format)
	host, err := walk.At(u.opts.Root)
	if err != nil {
		u.say("%v", err)
		return
	}
	for _, d := range u.differ {
		from, inTheWay := at(d.Path), false
		if from == "" {
			from, inTheWay = host.Path(d.Path), true
		}
		fi, err := host.Lstat(from)
		if err != nil || !fi.Mode().IsRegular() && fi.Mode().Type() != fs.ModeSymlink || fi.Size() > maxEdited {
			continue
		}
		to := u.files.Stored(editedDir, d.Path)
		if err := host.Keep(from, u.files.Stored(editedDir), d.Path, maxEdited); err != nil {
			u.warn("%s is replaced, and could not be kept: %v", d.Path, err)
			continue
		}
		u.warn("%s is replaced; what it was is in %s", d.Path, to)
		if inTheWay {
			if err := host.Remove(from); err != nil && !errors.Is(err, fs.ErrNotExist) {
				u.say("%v", err)
			}
		}
	}
	u.differ = nil
}
