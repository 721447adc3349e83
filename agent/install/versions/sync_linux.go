package versions

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"bakehouse/schema"
)

// sync makes durable what was unpacked, with all else on its file system. One call is cheaper than one for each file
// and directory.
func (x *extraction) sync(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return &os.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}

// SyncedWith reports whether Unpack makes all durable that was written before to the file system of dir.
func (s *Dir) SyncedWith(dir string) bool {
	ours, err := device(s.Path(schema.VersionDir))
	other, oerr := device(dir)
	return err == nil && oerr == nil && ours == other
}

func device(dir string) (uint64, error) {
	var st syscall.Stat_t
	err := syscall.Stat(dir, &st)
	return st.Dev, err
}
