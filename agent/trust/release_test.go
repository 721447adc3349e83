package trust

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"bakehouse/agent/trust/kept"
	"bakehouse/schema"
)

// testdata/release is the state directory of a host at root 2 and timestamp 2, and the fleet's anchor, as the program
// of an earlier commit wrote them. What one program has written, the other has to read: hosts go forward by an update,
// and back by a rollback. It is written again when a format changes that no release had.
const releaseState = "testdata/release"

func releaseClock() time.Time { return start.Add(time.Hour) }

// releaseSource is the server that this host had: what it handed out stands in the state itself.
type releaseSource struct{ asked *[]string }

func (s releaseSource) Metadata(_ context.Context, name string, _ int64) ([]byte, error) {
	*s.asked = append(*s.asked, name)
	switch name {
	case "2.root.json":
		name = rootFile
	case "3.root.json":
		return nil, fs.ErrNotExist
	}
	return os.ReadFile(filepath.Join(releaseState, name))
}

func (s releaseSource) Tree(context.Context, schema.Digest, int64) ([]byte, error) {
	return nil, fs.ErrNotExist
}

func (s releaseSource) Target(_ context.Context, name string, d schema.Digest, _ int64) ([]byte, error) {
	*s.asked = append(*s.asked, name)
	return os.ReadFile(filepath.Join(releaseState, d.Hex()+policySuffix))
}

func releaseAnchor(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(releaseState, "anchor.json"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// marksIn reads a directory's marks; how often they were written is nobody's business.
func marksIn(t *testing.T, dir, name string) *marks {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	m, err := decodeMarks(b)
	if err != nil {
		t.Fatal(err)
	}
	m.Serial = 0
	return m
}

func TestStateOfTheReleaseBeforeIsRead(t *testing.T) {
	dir := copied(t, releaseState)
	if err := os.Remove(filepath.Join(dir, "anchor.json")); err != nil {
		t.Fatal(err)
	}
	c, err := open(dir, releaseAnchor(t), releaseClock, unsynced)
	if err != nil {
		t.Fatal(err)
	}
	if root, stamp := c.Versions(); root != 2 || stamp != 2 || c.Policy() == nil {
		t.Errorf("root %d, timestamp %d, policy %v", root, stamp, c.Policy())
	}
	var asked []string
	if err := c.Refresh(t.Context(), releaseSource{&asked}, c.Timestamp()); err != nil {
		t.Fatal(err)
	}
	a, err := c.Assignment(t.Context(), releaseSource{&asked}, "web01")
	if err != nil || a.SHA256 != schema.DigestOf([]byte("web01 second")) {
		t.Errorf("assignment %v, %v", a, err)
	}
	if !slices.Equal(asked, []string{"3.root.json"}) {
		t.Errorf("asked for %q", asked)
	}
	for _, name := range stateFiles(t, dir) {
		got, _ := os.ReadFile(filepath.Join(dir, name))
		want, _ := os.ReadFile(filepath.Join(releaseState, name))
		if !bytes.Equal(got, want) {
			t.Errorf("%s was written anew", name)
		}
	}
}

func TestStateIsWrittenAsTheReleaseBeforeReadsIt(t *testing.T) {
	dir := t.TempDir()
	c, err := open(dir, releaseAnchor(t), releaseClock, unsynced)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	if err := c.Refresh(t.Context(), releaseSource{&asked}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Assignment(t.Context(), releaseSource{&asked}, "web01"); err != nil {
		t.Fatal(err)
	}
	names := stateFiles(t, dir)
	if want := slices.DeleteFunc(stateFiles(t, releaseState), func(n string) bool { return n == "anchor.json" }); !slices.Equal(names, want) {
		t.Errorf("state files %q, want %q", names, want)
	}
	for _, name := range names {
		if name == kept.MarksFile || name == kept.CopyOf(kept.MarksFile) {
			got, want := marksIn(t, dir, name), marksIn(t, releaseState, name)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n%+v\nwant\n%+v", name, got, want)
			}
			continue
		}
		got, _ := os.ReadFile(filepath.Join(dir, name))
		want, _ := os.ReadFile(filepath.Join(releaseState, name))
		if !bytes.Equal(got, want) {
			t.Errorf("%s is another one", name)
		}
	}
	if out := os.Getenv("BAKEHOUSE_TEST_STATE"); out != "" { // for a program of the release before to read
		if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
	}
}
