package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bakehouse/schema/fault"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// holds checks which contents the directory of targets has, in any order, and that nothing else is left there.
func (d *device) holds(want ...string) {
	d.t.Helper()
	got := []string{}
	for _, name := range stateFiles(d.t, d.targets) {
		b, err := os.ReadFile(filepath.Join(d.targets, name))
		if err != nil {
			d.t.Fatal(err)
		}
		got = append(got, string(b))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.t.Errorf("downloaded: %q, want %q", got, want)
	}
}

// fetched checks how often targets were asked for since the last time.
func (d *device) fetched(want int) {
	d.t.Helper()
	if _, got := d.r.Asked(); len(got) != want {
		d.t.Errorf("fetched %q, want %d", got, want)
	}
}

func TestTargetIsDownloadedOnce(t *testing.T) {
	for target, file := range map[string]string{"file.txt": "file.txt", "path/to/a/file.txt": "path%2Fto%2Fa%2Ffile.txt", "../../up": "..%2F..%2Fup",
		"odd ?#%.txt": "odd%20%3F%23%25.txt"} {
		t.Run(target, func(t *testing.T) {
			d := newDevice(t)
			d.r.Add(metadata.TARGETS, target, "content")
			d.r.PublishAll(metadata.TARGETS)
			d.must(d.refresh())
			d.holds()
			d.must(d.download(target))
			d.holds("content")
			d.fetched(1)
			d.must(d.download(target))
			d.fetched(0)
			if _, err := os.Stat(filepath.Join(d.targets, file)); err != nil {
				t.Error(err)
			}
		})
	}
	for _, target := range []string{"..", ".", ""} {
		t.Run("not as "+target, func(t *testing.T) {
			d := newDevice(t)
			d.r.Add(metadata.TARGETS, target, "content")
			d.r.PublishAll(metadata.TARGETS)
			d.mustFail(d.download(target), "not usable as a file name")
			d.fetched(0)
		})
	}
}

func TestTargetThatWasSubstituted(t *testing.T) {
	for name, evil := range map[string]string{"of another length": "malicious data, longer than what is signed", "shorter": "mal", "of the same length": "malice!"} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.r.Add(metadata.TARGETS, "one", "content")
			d.r.Add(metadata.TARGETS, "two", "content")
			d.r.PublishAll(metadata.TARGETS)
			d.must(d.download("one"))
			d.r.Serve("one", evil)
			d.r.Serve("two", evil)
			d.must(d.download("one"))
			d.holds("content")
			err := d.download("two")
			if err == nil || name != "shorter" && !fault.IsRefusal(err) {
				t.Errorf("got %v", err)
			}
			d.holds("content")
		})
	}
}

func TestTargetThatChanges(t *testing.T) {
	d := newDevice(t)
	for _, content := range []string{"first", "second", "the third one"} {
		d.r.Add(metadata.TARGETS, "file", content)
		d.r.PublishAll(metadata.TARGETS)
		d.must(d.download("file"))
		d.holds(content)
		d.r.Serve("file", "malicious "+content)
		d.r.PublishAll(metadata.TARGETS)
		d.must(d.download("file"))
		d.holds(content)
	}
	// The one that is held is kept until the new one is there whole.
	d.r.Add(metadata.TARGETS, "file", "never served")
	d.r.Serve("file", "something else")
	d.r.PublishAll(metadata.TARGETS)
	if d.download("file") == nil {
		t.Error("it was taken")
	}
	d.holds("the third one")
	if err := os.WriteFile(filepath.Join(d.targets, "file"), []byte("damaged on the disk"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.r.Serve("file", "never served")
	d.must(d.download("file"))
	d.holds("never served")
}

func TestHashesOfATarget(t *testing.T) {
	s256, s512 := sha256.Sum256([]byte("content")), sha512.Sum512([]byte("content"))
	for name, c := range map[string]struct {
		hashes metadata.Hashes
		says   string
	}{
		"sha256":          {metadata.Hashes{"sha256": s256[:]}, ""},
		"sha512":          {metadata.Hashes{"sha512": s512[:]}, ""},
		"both":            {metadata.Hashes{"sha256": s256[:], "sha512": s512[:]}, ""},
		"both, one wrong": {metadata.Hashes{"sha256": s256[:], "sha512": s512[1:]}, "another sha512"},
		"one unknown":     {metadata.Hashes{"sha256": s256[:], "md5": s256[:16]}, "hashes of known kinds"},
		"unknown":         {metadata.Hashes{"unknown-hash": s512[:]}, "hashes of known kinds"},
		"none":            {metadata.Hashes{}, "hashes"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDevice(t)
			d.r.Add(metadata.TARGETS, "file", "content").Hashes = c.hashes
			d.r.PublishAll(metadata.TARGETS)
			if c.says == "" {
				d.must(d.download("file"))
				d.holds("content")
				d.fetched(1)
				return
			}
			d.mustFail(d.download("file"), c.says)
			d.holds()
		})
	}
}

// Of two hashes always the same one is asked for: go-tuf's client takes any.
func TestOneOfTwoHashesIsAlwaysAskedFor(t *testing.T) {
	d := newDevice(t)
	s512 := sha512.Sum512([]byte("content"))
	f := d.r.Add(metadata.TARGETS, "x/file", "content")
	f.Hashes["sha512"] = s512[:]
	d.r.PublishAll(metadata.TARGETS)
	for range 8 {
		d.targets = t.TempDir()
		d.must(d.download("x/file"))
		if _, got := d.r.Asked(); len(got) != 1 || !strings.HasPrefix(got[0], "x/"+f.Hashes["sha256"].String()+".") {
			t.Fatalf("fetched %q", got)
		}
	}
}
