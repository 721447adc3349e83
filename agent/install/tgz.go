package install

import (
	"context"
	"io"

	"bakehouse/agent/install/machine"
	"bakehouse/agent/install/units"
	"bakehouse/agent/install/versions"
	"bakehouse/schema"
)

func (s *System) versions() *versions.Dir { return &versions.Dir{System: s.System} }

func (tgz) format() schema.Format { return schema.Tgz }

func (tgz) usable() error { return nil }

// Links are never made over the files of others.
func (m tgz) owns(ctx context.Context, p Package) error { return m.checkPkgOwner(ctx, p) }

func (m tgz) install(ctx context.Context, p Package) (Revert, error) {
	return m.versions().Install(ctx, p)
}

func (m tgz) version(_ context.Context, p Package) (string, error) { return m.versions().Version(p) }

func (m tgz) witnesses(Package) []string { return []string{m.versions().Witness()} }

func (m tgz) locate() func(string) string { return m.versions().Locate() }

// SyncedWith reports whether Unpack makes all durable that was written before to the file system of dir.
func (s *System) SyncedWith(dir string) bool { return s.versions().SyncedWith(dir) }

func (m tgz) unpack(ctx context.Context, p *Package, assemble func(io.Writer) error) error {
	return m.versions().Unpack(ctx, p, assemble)
}

func (m tgz) discard(p Package) error { return m.versions().Discard(p) }

// Prune removes versions once the one that runs is accepted: all others but that of the package before, and what was
// unpacked by hand if byHand.
func (s *System) Prune(before *Package, byHand bool) { s.versions().Prune(before, byHand) }

// Current returns the files of the version that runs, as absolute paths; none if there is no version.
func (s *System) Current() ([]string, error) { return s.versions().Current() }

// ByHand reports whether what was unpacked by hand is kept, and not what runs.
func (s *System) ByHand() bool { return s.versions().ByHand() }

// ReturnToByHand switches to what was unpacked by hand. It stays under the updater's care: links lead to it.
func (s *System) ReturnToByHand(ctx context.Context) error { return s.versions().ReturnToByHand(ctx) }

// KeepStopped notes the units that an administrator stopped, for as long as an installation is under way; ForgetStopped
// ends that. It returns what it wrote down.
func (s *System) KeepStopped(ctx context.Context) ([]string, error) {
	return units.Keep(ctx, s.machine())
}

// ForgetStopped is that no installation is under way.
func (s *System) ForgetStopped() error { return units.Forget(s.machine()) }

// Stopped is what is kept of each unit: "stopped", "disabled".
func (s *System) Stopped() map[string][]string { return units.Stopped(s.machine()) }

func (s *System) machine() *machine.System { return &s.System }
