package agent

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"bakehouse/schema"
	"bakehouse/schema/durable"
	"bakehouse/schema/fault"
)

// adoptedDir keeps package files that somebody installed manually, by their digests, until an update has cut them up.
const adoptedDir = "adopted"

// Adopt keeps the file of a package that was installed on this host manually. The next update takes from it what it
// would else fetch: nothing of the file is believed but what a signed manifest says of it.
func (a *Agent) Adopt(file string) (schema.Digest, error) {
	end, err := a.begin("adopt")
	if err != nil {
		return schema.Digest{}, err
	}
	defer end()
	f, err := os.Open(file)
	if err != nil {
		return schema.Digest{}, fault.Hint(err, "give the file of the package that was installed, such as web01.deb")
	}
	defer f.Close()
	fi, err := f.Stat()
	if err == nil && (!fi.Mode().IsRegular() || fi.Size() == 0 || fi.Size() > schema.MaxPackage) {
		err = fault.Hint(fmt.Errorf("%s is no file of a package", file),
			"give the file that was installed, such as web01.deb")
	}
	if err != nil {
		return schema.Digest{}, err
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return schema.Digest{}, err
	}
	d := schema.Digest(h.Sum(nil))
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return d, err
	}
	dir := a.files.Stored(adoptedDir)
	if err := errors.Join(durable.RemoveAll(dir), durable.MkdirAll(dir, 0o700)); err != nil { // the one before
		return d, err
	}
	a.say("keeping %s, package %s, for the next update", file, d.Short())
	return d, durable.Create(filepath.Join(dir, d.Hex()), f, 0o600)
}
