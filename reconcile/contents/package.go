package contents

import (
	"cmp"
	"errors"
	"io"

	"bakehouse/schema"
)

// OfPackage puts a package together and lists what it holds.
func OfPackage(m *schema.Manifest, open func(schema.SegmentRef) (io.ReadCloser, error)) ([]File, error) {
	r, w := io.Pipe()
	assembled := make(chan error, 1)
	go func() {
		err := m.Assemble(w, open)
		w.CloseWithError(err)
		assembled <- err
	}()
	files, err := List(m.Format, r)
	if err == nil {
		_, err = io.Copy(io.Discard, r) // whatever is behind the last file is digested too
	}
	r.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
	if e := <-assembled; e != nil && !errors.Is(e, io.ErrClosedPipe) {
		return nil, e
	}
	return files, err
}
