package install

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"runtime"

	"golang.org/x/sys/windows"

	"bakehouse/agent/install/listing"
	"bakehouse/agent/install/msi"
	"bakehouse/agent/owned"
	"bakehouse/schema"
	"bakehouse/schema/fault"
)

func init() {
	native = func(s *System) manager { return installer{s} }
	reaches = believed
}

// installer is Windows'.
type installer struct{ *System }

func (installer) format() schema.Format { return schema.Msi }

func (m installer) usable() error {
	if m.Sandboxed() {
		return fault.Hint(errors.New("an msi is installed on the system itself, not below a directory"),
			"leave out --root")
	}
	return msi.Usable()
}

func (installer) owns(context.Context, Package) error { return nil }

func (m installer) install(ctx context.Context, p Package) (Revert, error) {
	return nil, msi.Here(m.Log, m.Stopped()).Install(ctx, p)
}

func (installer) version(context.Context, Package) (string, error) { return msi.Version() }

func (installer) witnesses(Package) []string { return msi.Witnesses() }

func (m installer) locate() func(string) string { return m.Path }

// openStaged opens the file of a package. Nobody can write to it, rename or remove it until it is closed.
func openStaged(name string) (*os.File, error) {
	p, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	h, err := windows.CreateFile(p, windows.GENERIC_READ, windows.FILE_SHARE_READ, nil, windows.OPEN_EXISTING, 0, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// believed refuses folders of packages that others than administrators own or may write to: Windows runs as the system
// what is put there.
func believed(s *System, _ listing.List) error {
	settings := path.Dir(schema.ConfigFile(runtime.GOOS))
	for _, dir := range []string{schema.Prefix(runtime.GOOS), settings} {
		if err := owned.Check(s.Path(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
