package packages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"bakehouse/schema/fault"
)

// assembleTo writes beside the final name first, so that a failure leaves nothing half done.
func assembleTo(file string, assemble func(io.Writer) error) (err error) {
	// The name of the temporary file would say nothing.
	unwritten := func(err error) error {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fault.Hint(fmt.Errorf("write %s: %w", file, err), "choose another file with -o")
	}
	if fi, err := os.Stat(file); err == nil && !fi.Mode().IsRegular() {
		// A device or a pipe is written to: a rename would put a file in its place.
		f, err := os.OpenFile(file, os.O_WRONLY, 0)
		if err != nil {
			return unwritten(err)
		}
		return errors.Join(assemble(f), f.Close())
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return unwritten(err)
	}
	defer func() {
		if err == nil {
			return
		}
		_, _ = tmp.Close(), os.Remove(tmp.Name())
		var pe *fs.PathError
		if errors.As(err, &pe) && pe.Path == tmp.Name() {
			err = unwritten(err)
		}
	}()
	w := bufio.NewWriterSize(tmp, 256<<10)
	if err := assemble(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
