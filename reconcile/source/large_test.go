package source

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"bakehouse/schema/fault"
)

// largeBlob is bytes that nothing compresses, more than are held.
func largeBlob() []byte {
	b := make([]byte, 3*maxHeld)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func openLarge(t *testing.T, dir string) fs.File {
	t.Helper()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := r.Revision("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	f, err := rev.FS.Open("plugins/a/large.bin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestALargeCommittedFileIsReadWithoutHoldingIt(t *testing.T) {
	dir, git := repo(t)
	want := largeBlob()
	write(t, dir, "plugins/a/large.bin", string(want))
	git("add", "-A")
	git("commit", "-qm", "large")
	for _, packed := range []bool{false, true} {
		if packed {
			git("gc", "-q")
		}
		f := openLarge(t, dir)
		info, err := f.Stat()
		if err != nil || info.Size() != int64(len(want)) || info.Name() != "large.bin" {
			t.Errorf("%v, %v", info, err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		equal := &comparer{want: want}
		n, err := io.Copy(equal, f)
		runtime.ReadMemStats(&after)
		if err != nil || n != info.Size() || equal.differ {
			t.Errorf("packed %t: %d bytes, %v, other bytes: %t", packed, n, err, equal.differ)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > maxHeld/4 {
			t.Errorf("packed %t: reading %d bytes took %d bytes of memory", packed, n, grown)
		}
		// As archives are read, and once more from the start.
		at, b := int64(len(want)/2), make([]byte, 100)
		if _, err := f.(io.ReaderAt).ReadAt(b, at); err != nil || !bytes.Equal(b, want[at:at+100]) {
			t.Errorf("packed %t: in the middle: %v", packed, err)
		}
		if n, err := f.(io.ReaderAt).ReadAt(b, int64(len(want))-10); err != io.EOF || n != 10 {
			t.Errorf("packed %t: at the end: %d, %v", packed, n, err)
		}
	}
}

// comparer compares what is written to it.
type comparer struct {
	want   []byte
	differ bool
}

func (c *comparer) Write(b []byte) (int, error) {
	c.differ = c.differ || !bytes.HasPrefix(c.want, b)
	c.want = c.want[min(len(b), len(c.want)):]
	return len(b), nil
}

func TestALargeObjectThatIsNotWhatItsNameSaysIsRefused(t *testing.T) {
	dir, git := repo(t)
	b := largeBlob()
	write(t, dir, "plugins/a/large.bin", string(b))
	git("add", "-A")
	git("commit", "-qm", "large")
	b[len(b)/2] ^= 1
	write(t, dir, "other.bin", string(b))
	replaceObject(t, dir, git("rev-parse", "HEAD:plugins/a/large.bin"), git("hash-object", "-w", "other.bin"))
	f := openLarge(t, dir)
	if _, err := io.Copy(io.Discard, f); !fault.IsRefusal(err) {
		t.Errorf("read to its end: %v", err)
	}
	if _, err := f.(io.ReaderAt).ReadAt(make([]byte, 10), 0); !fault.IsRefusal(err) || errors.Is(err, io.EOF) {
		t.Errorf("read from the middle: %v", err)
	}
}

// replaceObject puts a loose object in the place of another.
func replaceObject(t *testing.T, dir, victim, fake string) {
	t.Helper()
	file := func(hash string) string { return filepath.Join(dir, ".git/objects", hash[:2], hash[2:]) }
	if err := errors.Join(os.Remove(file(victim)), os.Link(file(fake), file(victim))); err != nil {
		t.Fatal(err)
	}
}
